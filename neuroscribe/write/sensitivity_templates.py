"""The scorer `sensitivity_templates`: how often the neuron fires on a list's tokens in neutral sentences.

Only what is a list of tokens, or has parts that no LLM wrote, can be filled in: a description is no text on
which a neuron fires. Tokens are put in as words, for a list does not say which of them are pieces of words.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar, Literal

from neuroscribe.study.sections import Capability
from neuroscribe.tables.sentences import NO_PHRASES
from neuroscribe.text.escaping import storable, unescaped
from neuroscribe.text.listed_tokens import listed_tokens
from neuroscribe.write.prompts import PHRASE, frames
from neuroscribe.write.sentences import Sentence
from neuroscribe.write.writing import FilledWriting

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class SensitivityTemplates(FilledWriting):
    """How often the neuron fires on an explanation's own tokens or phrases, put into neutral sentences."""

    needs: ClassVar[Capability | None] = "subject"

    kind: Literal["sensitivity_templates"] = "sensitivity_templates"

    def filled(self, explanation: Mapping[str, Any]) -> list[Sentence]:
        """Return its phrases in turn, each time in another frame; no sentence twice."""
        own = phrases(explanation)
        if not own:
            return [Sentence(None, NO_PHRASES)]
        shown = frames(self.kind_name)
        turns = ((place // len(own), place % len(own)) for place in range(len(own) * len(shown)))
        every = (_filled(shown[(turn + place) % len(shown)], own[place]) for turn, place in turns)
        return list(islice(every, self.sentences))


def phrases(explanation: Mapping[str, Any]) -> list[str]:
    """Return the tokens or phrases that an explanation lists, in its order; none of a description.

    Parts count where no LLM wrote them; of what a part puts in quotation marks, that alone.
    """
    parts: list[str] | None = explanation["parts"]
    if parts is not None:
        own = parts if explanation["model"] == "none" else []
        return [text for part in own if (text := _plain(part))]
    text = explanation["text"]
    listed = sorted(listed_tokens(text) or (), key=lambda name: (text.find(f'"{name}'), name))
    return [plain for name in listed if (plain := storable(unescaped(name))).strip()]


def _plain(part: str) -> str:
    quoted = _QUOTED.findall(part)
    named = quoted[0].replace('\\"', '"') if quoted else part
    return storable(unescaped(named)).strip()


def _filled(frame: str, phrase: str) -> Sentence:
    return Sentence(frame.replace(PHRASE, phrase), "ok", phrase)

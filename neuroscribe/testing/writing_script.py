"""A writer of sentences about the planted subject's neurons that knows what they fire on."""

import re
from dataclasses import dataclass

from neuroscribe.testing.judging_script import JudgingScript
from neuroscribe.testing.planted import GROUPS

_ASKED = re.compile(r"Description: (.*)\nWrite (\d+) passages, numbered from 1 to \d+\.\s*(?:1\.)?\s*$")


@dataclass(frozen=True)
class WritingScript(JudgingScript):
    """Writes sentences that hold tokens of the description's groups; all else as the judging script does."""

    declines: str = ""
    """The description from which it refuses to write."""

    def reply(self, prompt_text: str) -> str:
        """Answer a prompt that asks for passages by a numbered list."""
        asked = _ASKED.search(prompt_text)
        if asked is None:
            return super().reply(prompt_text)
        if self.declines and asked[1] == self.declines:
            return "I'm sorry, but I can't help with that."
        return "\n".join(f"{n + 1}. {_sentence(asked[1], n)}" for n in range(int(asked[2])))


def _sentence(description: str, place: int) -> str:
    """Return a sentence with a token of the description in plain words, another one for each place."""
    tokens = [token for name in description.split(" or ") for token in GROUPS.get(name, ())]
    words = [token for token in tokens if token.startswith(" ")] or tokens or [" nothing"]
    return f"the{words[place % len(words)]} of it{' and that' * (place // len(words))} was"

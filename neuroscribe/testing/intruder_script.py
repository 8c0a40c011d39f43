"""A judge of the planted subject that finds intruders by last tokens, and answers about many excerpts."""

import re
from collections import Counter
from dataclasses import dataclass

from neuroscribe.testing.judging_script import fits
from neuroscribe.testing.planted import GROUPS
from neuroscribe.testing.writing_script import WritingScript
from neuroscribe.text.escaping import escaped, unforged

_PIECE = re.compile(r"^Piece (\d+):\n- (.*)$", re.MULTILINE)
_STUB = re.compile(r"\n\nPiece\s*$")
"""The answer that is begun; not every way of asking sends it."""
_NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
_GROUP_OF = {unforged(escaped(token.encode())): name for name, tokens in GROUPS.items() for token in tokens}


@dataclass(frozen=True)
class IntruderScript(WritingScript):
    """Finds the piece that ends unlike the others, and answers about many excerpts at once."""

    def reply(self, prompt_text: str) -> str:
        """Answer the last question."""
        question = _STUB.sub("", prompt_text).rstrip().rsplit("\n\n", 1)[-1]
        if question.endswith("Which piece does not belong?"):
            return f" {_odd(question)}"
        if question.startswith("Excerpts:\n"):
            description = prompt_text.rsplit("Description: ", 1)[1].split("\n", 1)[0]
            shown = _NUMBERED.findall(question)
            return ", ".join(f"{n} {'yes' if fits(description, text) else 'no'}" for n, text in shown)
        return super().reply(prompt_text)


def _odd(question: str) -> str:
    """Return the number of the piece whose last token is of another group than most."""
    ends = {number: _group(text) for number, text in _PIECE.findall(question)}
    (common, _), *_ = Counter(ends.values()).most_common(1)
    return next((number for number, group in ends.items() if group != common), "1")


def _group(text: str) -> str:
    """Return the group of the longest token that a text ends with."""
    endings = (text[start:] for start in range(len(text)))
    return next((_GROUP_OF[end] for end in endings if end in _GROUP_OF), "")

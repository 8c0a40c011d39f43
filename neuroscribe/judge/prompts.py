"""The judging prompts: instruction, worked examples, the explanation, and last the excerpts.

All that comes before the excerpts is the same for every question about an explanation, so that servers find
it in their caches. Turns alternate, as chat templates want. Wording is data: `prompts.toml`.
"""

import tomllib
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import escaped, unforged
from neuroscribe.text.marks import STRONG
from neuroscribe.text.marks import marked as shown_with_marks


def prompt_identity(layout: str) -> str:
    """Return version and content hash of a layout's wording; part of every judgement's identity."""
    data = wording()[layout]
    return f"{layout} prompt v{data['version']} {fingerprint(data, STRONG)[:8]}"


@cache
def wording() -> dict[str, Any]:
    """Return the wordings of all layouts."""
    return tomllib.loads(files("neuroscribe.judge").joinpath("prompts.toml").read_text(encoding="utf-8"))


def judging_messages(
    layout: str, explanation: str, tokens: Sequence[bytes], marked: Collection[int] = ()
) -> list[Message]:
    """Return the question about one excerpt; `marked` are places among its tokens."""
    return [
        *_beginning(layout),
        *_opening(layout, explanation),
        _question(layout, _shown(tokens, marked)),
    ]


def together_messages(
    layout: str, explanation: str, excerpts: Sequence[tuple[Sequence[bytes], Collection[int]]]
) -> list[Message]:
    """Return the question about several excerpts: the tokens of each, and which places among them are marked.

    Each stands on a line of its own after its number, so that its text begins no line.
    """
    shown = [_shown(tokens, marked) for tokens, marked in excerpts]
    return [*_beginning(layout), *_opening(layout, explanation), _question(layout, _numbered(shown))]


def _shown(tokens: Sequence[bytes], marked: Collection[int]) -> str:
    pairs = [(escaped(token), STRONG if place in marked else 0) for place, token in enumerate(tokens)]
    return shown_with_marks([pairs])[0]


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


@cache
def _beginning(layout: str) -> tuple[Message, ...]:
    data = wording()[layout]
    turns = [Message("system", data["instruction"].strip())]
    for example in data["example"]:
        turns += _opening(layout, example["explanation"])
        pairs = [tuple(pair) for pair in example["excerpts"]]
        if data.get("together", False):
            shown, said = zip(*pairs, strict=True)
            answer = ", ".join(f"{number} {word}" for number, word in enumerate(said, start=1))
            pairs = [(_numbered(shown), answer)]
        for excerpt, answer in pairs:
            turns += [_question(layout, excerpt), Message("assistant", answer)]
    return tuple(turns)


def _opening(layout: str, explanation: str) -> list[Message]:
    data = wording()[layout]
    # Not str.format: explanations and excerpts may hold braces.
    said = data["description"].replace("{explanation}", unforged(explanation))
    return [Message("user", said), Message("assistant", data["ready"])]


def _question(layout: str, excerpt: str) -> Message:
    return Message("user", wording()[layout]["question"].replace("{excerpt}", excerpt))

"""Reads back what a prompt shows of its last neuron, as a model that answers it would."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOKEN_FIRST = re.compile(r"(.*)\t(10|\d)")
_ACTIVATION_FIRST = re.compile(r"(10|\d)\t(.*)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LISTS = ("Marked: ", "Tokens: ", "Likelier: ")
_PHRASES = "Up to the mark: "
_NUMBERED = re.compile(r"\d+\. (.*)")
_LAST = re.compile(r"(\w+|\\[ntr]|[^\w\s])$")
"""The end of a phrase: its last word, or a sign."""
_PROMOTES = "Promotes: "


@dataclass(frozen=True)
class Asked:
    """A neuron as a prompt shows it; tokens are escaped."""

    pairs: tuple[tuple[str, int], ...] = ()
    """Tokens with their activations, where the prompt lists all of them."""
    firing: tuple[str, ...] = ()
    """Else the tokens on which, or before which, it is said to fire."""
    promoted: tuple[str, ...] = ()
    as_json: bool = False
    """Whether a short and a long text are asked for."""


def last_asked(prompt: str) -> Asked:
    """Return what the last question of a prompt shows; blank lines part the turns."""
    as_json = '"short"' in prompt.split("\n\n")[0]
    for block in reversed(prompt.split("\n\n")):
        lines = block.split("\n")
        for line in lines:
            if line.startswith(_LISTS):
                return Asked((), _quoted(line), _promoted(lines), as_json)
            if line.startswith(_PHRASES):
                return Asked((), _last(_quoted(line)), _promoted(lines), as_json)
        numbered = [_NUMBERED.fullmatch(line) for line in lines]
        if all(numbered):
            return Asked((), _last([line[1] for line in numbered if line]), (), as_json)
        listed = [line for line in lines if "\t" in line]
        after = [_ACTIVATION_FIRST.fullmatch(line) for line in listed]
        if listed and all(after):
            return Asked((), tuple(pair[2] for pair in after if pair and pair[1] != "0"), (), as_json)
        pairs = [pair for line in listed if (pair := _TOKEN_FIRST.fullmatch(line))]
        if pairs:
            return Asked(tuple((pair[1], int(pair[2])) for pair in pairs), (), (), as_json)
    return Asked()


def _last(phrases: Iterable[str]) -> tuple[str, ...]:
    """Return the last word or sign of each phrase."""
    return tuple(found[0] for phrase in phrases if (found := _LAST.search(phrase)))


def _quoted(line: str) -> tuple[str, ...]:
    return tuple(token.replace('\\"', '"') for token in _QUOTED.findall(line))


def _promoted(lines: list[str]) -> tuple[str, ...]:
    return tuple(token for line in lines if line.startswith(_PROMOTES) for token in _quoted(line))

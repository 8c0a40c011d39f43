"""Lists of tokens as explanations: written without an LLM, and read back to be taken literally."""

import re
from collections.abc import Iterable, Mapping

from neuroscribe.text.escaping import QUOTED, escaped

_LEAD_IN = "the tokens "
STRONGEST = 10
_GRADED = rf"{QUOTED}(?: \((10|[1-9])\))?"
"""A token and how strongly the neuron fires on it, 10 unless it is said."""
_LIST = re.compile(rf"{_LEAD_IN}{_GRADED}(?:, {_GRADED})*")
_ESCAPE = re.compile(r"\\(.)")


def listed_as(token: bytes) -> str:
    """Return how a list names a token: escaped, without outer spaces unless it is all spaces.

    Tokens that differ in outer spaces alone share a name.
    """
    return _name(escaped(token))


def token_list(tokens: Iterable[str]) -> str:
    """Return an explanation that names some (escaped) tokens, those that share a name once."""
    names = dict.fromkeys(_name(token) for token in tokens)
    return _LEAD_IN + ", ".join(map(_in_quotes, names))


def graded_list(strengths: Mapping[str, int]) -> str:
    """Return an explanation that names some tokens, as `listed_as` gives them, with strengths of 1 to 10."""
    return _LEAD_IN + ", ".join(f"{_in_quotes(name)} ({strength})" for name, strength in strengths.items())


def listed_tokens(text: str) -> dict[str, int] | None:
    """Return the tokens that an explanation names, as `listed_as` gives them, with the strength of each.

    None if it is no such list.
    """
    if not _LIST.fullmatch(text):
        return None
    found = re.findall(_GRADED, text)
    return {_ESCAPE.sub(_meant, name): int(strength or STRONGEST) for name, strength in found}


def _in_quotes(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def _name(token: str) -> str:
    return token.strip() or token


def _meant(escape: re.Match[str]) -> str:
    """Return a quotation mark for one after a backslash; other escapes belong to the token's name."""
    return '"' if escape[1] == '"' else escape[0]

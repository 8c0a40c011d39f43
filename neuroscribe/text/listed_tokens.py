"""Lists of tokens as explanations: written without an LLM, and read back to be taken literally."""

import re
from collections.abc import Iterable

from neuroscribe.text.escaping import escaped

_LEAD_IN = "the tokens "
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
"""A token in quotation marks; those inside it, and every backslash, stand after a backslash."""
_LIST = re.compile(rf"{_LEAD_IN}{_QUOTED}(?:, {_QUOTED})*")
_ESCAPE = re.compile(r"\\(.)")


def listed_as(token: bytes) -> str:
    """Return how a list names a token: escaped, without outer spaces unless it is all spaces.

    Tokens that differ in outer spaces alone share a name.
    """
    return _name(escaped(token))


def token_list(tokens: Iterable[str]) -> str:
    """Return an explanation that names some (escaped) tokens, those that share a name once."""
    names = dict.fromkeys(_name(token) for token in tokens)
    return _LEAD_IN + ", ".join('"' + name.replace('"', '\\"') + '"' for name in names)


def listed_tokens(text: str) -> frozenset[str] | None:
    """Return the tokens that an explanation names, as `listed_as` gives them; None if it is no such list."""
    if not _LIST.fullmatch(text):
        return None
    return frozenset(_ESCAPE.sub(_meant, name) for name in re.findall(_QUOTED, text))


def _name(token: str) -> str:
    return token.strip() or token


def _meant(escape: re.Match[str]) -> str:
    """Return a quotation mark for one after a backslash; other escapes belong to the token's name."""
    return '"' if escape[1] == '"' else escape[0]

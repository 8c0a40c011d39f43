"""Words and phrases of a sequence of tokens: the whole word that a token is of, and the words before it."""

import re
from collections.abc import Sequence

from neuroscribe.text.escaping import escaped
from neuroscribe.text.spans import Span, text_and_spans

_HEAD, _TAIL = re.compile(r"\w*$"), re.compile(r"\w*")


def peak_word(tokens: Sequence[bytes], place: int) -> str:
    """Return the whole word that a token is of, as written; the token itself where it is no word's.

    Without outer spaces, unless it is all spaces.
    """
    text, spans = text_and_spans(tokens)
    start, stop = _word(text, spans[place])
    return text[start:stop].strip() or text[start:stop]


def peak_phrase(tokens: Sequence[bytes], place: int, *, before: int) -> str:
    """Return the word that a token is of and up to so many words before it, escaped and on one line."""
    text, spans = text_and_spans(tokens)
    start, stop = _word(text, spans[place])
    words = re.search(rf"(?:\S+\s+){{0,{before}}}\S*$", text[:start])
    return escaped((_found(words)[0] + text[start:stop]).encode()).strip(" ")


def _word(text: str, span: Span) -> Span:
    """Return the first and one-past-last character of the whole word that a span is of."""
    start, stop = span
    core = text[start:stop].strip()
    if not core:
        return span
    start += text[start:stop].index(core)
    stop = start + len(core)
    if re.match(r"\w", core):
        start = _found(_HEAD.search(text, 0, start)).start()
    if re.search(r"\w$", core):
        stop = _found(_TAIL.match(text, stop)).end()
    return start, stop


def _found(match: re.Match[str] | None) -> re.Match[str]:
    assert match is not None, "nothing is found everywhere"
    return match

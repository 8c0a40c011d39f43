"""A sequence of tokens as text, and where in it each token stands."""

import codecs
from collections.abc import Sequence

Span = tuple[int, int]
"""First and one-past-last character."""


def text_and_spans(tokens: Sequence[bytes]) -> tuple[str, list[Span]]:
    """Return the text of a sequence and each token's characters in it; bytes that are no UTF-8 become U+FFFD.

    A character that several tokens make up together belongs to all of them.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    spans: list[Span] = []
    done = 0
    for token in tokens:
        start = done
        done += len(decoder.decode(token))
        begun = bool(decoder.getstate()[0])
        spans.append((start, done + begun))
    return b"".join(tokens).decode("utf-8", errors="replace"), spans


def touched(spans: Sequence[Span], start: int, stop: int) -> list[int]:
    """Return the places of the tokens that have a character between `start` and `stop`."""
    return [place for place, (a, b) in enumerate(spans) if a < stop and b > start]

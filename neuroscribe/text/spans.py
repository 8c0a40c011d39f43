"""A sequence of tokens as text, and where in it each token stands."""

import codecs
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

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


def touching(
    pieces: Sequence[Span], spans: Sequence[Span]
) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
    """Return the first and the last piece of a text that touches each span; -1 where none does.

    `pieces` stand in the order of the text.
    """
    if not pieces or not spans:
        nothing = np.full(len(spans), -1)
        return nothing, nothing
    (starts, ends), (begins, stops) = np.array(pieces).T, np.array(spans).T
    shared = (starts < stops[:, None]) & (ends > begins[:, None])
    found = shared.any(axis=1)
    last = len(pieces) - 1 - shared[:, ::-1].argmax(axis=1)
    return np.where(found, shared.argmax(axis=1), -1), np.where(found, last, -1)

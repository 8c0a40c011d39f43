"""Cuts documents into windows of tokens, each document in turn, and folds passages that come again.

Source: Bills et al. 2023, parameters: random contiguous 64-token windows of documents. Here, as there, a
window never crosses a document; otherwise than there, the windows of a document lie side by side from a
random offset, so that none overlap and no room for one is lost, and are taken in random order: one from every
document before a second one from any. A window that has a run of 13 tokens in common with one taken before is
left out: the length by which GPT-3 (Brown et al. 2020, appendix C) tells that one text holds another's. That
also leaves out boilerplate which recurs rightly ("is a village in the district of ..., at the 2006 census its
population was"), and with a vocabulary of single bytes, in which 13 tokens are two words, much of any text.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

RUN = 13
"""Tokens in a row by which two windows are the same passage; windows that are shorter must be equal."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Any odd number with bits of both kinds all over."""

Tokens = Int[np.ndarray, " token"]
Opened = tuple[int, Iterator[Tokens]]
"""A document and the windows of it that have not been looked at."""


@dataclass
class Cut:
    """Windows with their documents, in the order in which they were taken, and what was left out."""

    windows: list[tuple[int, Tokens]]
    tokenised: int = 0
    """Documents looked into."""
    short: int = 0
    """Those of them that are shorter than one window."""
    folded: int = 0
    """Windows left out because they share a run of tokens with one taken before."""


def cut_in_turn(
    texts: Mapping[int, str],
    encode: Callable[[str], list[int]],
    length: int,
    generator: random.Random,
    *,
    enough: int | None,
) -> Cut:
    """Take windows of `length` tokens from all texts in turn until there are enough, or all that there are.

    The order of the texts is random. Texts are tokenised as they come up for the first time, so that of many
    more texts than windows most are never looked into. In each turn a text gives the first of its windows
    that is not folded. Kept in memory are the tokens of the texts looked into, and about 80 bytes for each
    token taken.
    """
    cut, taken = Cut([]), _TakenRuns(length)
    order = list(texts)
    generator.shuffle(order)
    turn: Iterable[Opened] = _opened(order, texts, encode, length, generator, cut)
    while True:
        left: list[Opened] = []
        for document, windows in turn:
            window = next((window for window in windows if _is_new(window, taken, cut)), None)
            if window is None:
                continue
            cut.windows.append((document, window.copy()))  # a view would keep the document's other tokens
            left.append((document, windows))
            if len(cut.windows) == enough:
                return cut
        if not left:
            return cut
        turn = left


def _opened(
    order: Iterable[int],
    texts: Mapping[int, str],
    encode: Callable[[str], list[int]],
    length: int,
    generator: random.Random,
    cut: Cut,
) -> Iterator[Opened]:
    """Yield the texts that have a window, tokenising each when it is asked for."""
    for document in order:
        cells = _cells(np.array(encode(texts[document]), dtype=np.int32), length, generator)
        cut.tokenised += 1
        cut.short += not len(cells)
        if len(cells):
            yield document, iter(cells)


def _cells(
    tokens: Int[np.ndarray, " document_token"], length: int, generator: random.Random
) -> Int[np.ndarray, "window token"]:
    """Return as many windows as there is room for, side by side from a random offset, in random order."""
    count = len(tokens) // length
    offset = generator.randrange(len(tokens) - count * length + 1)
    order = list(range(count))
    generator.shuffle(order)
    return tokens[offset : offset + count * length].reshape(count, length)[order]


def _is_new(window: Tokens, taken: "_TakenRuns", cut: Cut) -> bool:
    is_new = taken.add(window)
    cut.folded += not is_new
    return is_new


class _TakenRuns:
    """The runs of tokens of all windows taken so far, each as a hash of 64 bits."""

    def __init__(self, length: int) -> None:
        self._run = min(RUN, length)
        self._weights = np.cumprod(np.full(self._run, _MULTIPLIER))
        self._hashes = set[int]()

    def add(self, window: Tokens) -> bool:
        """Take a window, unless a run of it is there already; return whether it was taken."""
        hashes: list[int] = self._hashed(window).tolist()
        if not self._hashes.isdisjoint(hashes):
            return False
        self._hashes.update(hashes)
        return True

    def _hashed(self, window: Tokens) -> UInt64[np.ndarray, " run"]:
        """Return a polynomial in the tokens of each run, modulo 2^64.

        Two runs of ten million have the same by chance with a probability of 3 in a million.
        """
        runs = np.lib.stride_tricks.sliding_window_view(window.astype(np.uint64), self._run)
        return runs @ self._weights

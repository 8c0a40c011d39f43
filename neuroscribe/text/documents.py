"""Documents of a corpus: copies are folded into one, and a quarter is held out from token tables."""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

HELD_OUT_SHARE = 0.25
"""Share of the documents from which no table of tokens is learned."""


@dataclass(frozen=True)
class Document:
    """One text of a corpus."""

    source: str
    """Where it comes from, for people: a title, or a file and line."""
    text: str


@dataclass
class DifferentDocuments:
    """The documents of a source by their place in it, copies left out."""

    kept: dict[int, Document] = field(default_factory=dict[int, Document])
    read: int = 0
    copies: int = 0
    """Documents left out because the same text was there already."""


def different(documents: Iterable[Document]) -> DifferentDocuments:
    """Return the documents without those whose text is that of an earlier one.

    Texts are the same that differ in white space alone: copies made by other crawlers or systems have other
    line ends, indents and blanks at the ends. Letters are left as they are, since a model reads other tokens
    in other letters; passages that such versions have in common are folded as windows (`windows.py`). Texts
    without a letter or sign are no copies of each other, only too short. Of a copy, a hash of 16 bytes is
    all that is kept.
    """
    found, seen = DifferentDocuments(), set[bytes]()
    for place, document in enumerate(documents):
        found.read += 1
        content = " ".join(document.text.split())
        digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if content and digest in seen:
            found.copies += 1
            continue
        seen.add(digest)
        found.kept[place] = document
    return found


def held_out(document_ids: Iterable[int], *, seed: int) -> frozenset[int]:
    """Return those of a corpus' documents that no table of tokens is learned from: about a quarter.

    Each document is drawn for itself, by seed and id, so that it stays held out, or not, when others come or
    go. Where there are two documents or more, at least one is held out and one is not.
    """
    draws = {document: _draw(document, seed) for document in set(document_ids)}
    if len(draws) < 2:
        return frozenset()
    ascending = sorted(draws, key=lambda document: (draws[document], document))
    count = sum(draw < HELD_OUT_SHARE for draw in draws.values())
    return frozenset(ascending[: min(max(count, 1), len(draws) - 1)])


def _draw(document: int, seed: int) -> float:
    return random.Random(f"held out {seed} {document}").random()  # noqa: S311 - a seeded draw

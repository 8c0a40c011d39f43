"""Piece vectors of whole sequences, held against a text: how near its meaning comes to each token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from neuroscribe.errors import StoreError
from neuroscribe.text.phrases import meant

_PIECES = 1 << 16
"""Pieces of which vectors are multiplied together, about 100 MB of them in float32."""
_HELD = 1 << 30
"""Bytes up to which vectors are held in float32; beyond, they are made wider for each text anew."""


Pieces = Callable[[str], tuple[list[tuple[int, int]], Float[np.ndarray, "piece feature"]]]
"""Gives the characters and the vector in context of each piece of a text, as `TextEncoder.pieces` does."""
Sentence = Callable[[str], Float[np.ndarray, " feature"]]
"""Gives the vector of a text as a whole, as `TextEncoder.sentence` does."""


@dataclass(frozen=True)
class _Part:
    """The pieces of some adjoining sequences."""

    vectors: Float[np.ndarray, "piece feature"]
    first: Int[np.ndarray, "sequence token"]
    """The first piece that each token touches, and the last one; -1 where there is none."""
    last: Int[np.ndarray, "sequence token"]


class PieceVectors:
    """What one encoder gives for some sequences, in the order in which they are named."""

    def __init__(self, encoded: pl.DataFrame, encoder: str, sequence_ids: Sequence[int]) -> None:
        """Read rows of ENCODED_CORPUS; raises StoreError where it lacks a sequence by `encoder`."""
        wanted = pl.DataFrame({"sequence_id": sequence_ids}, {"sequence_id": pl.UInt32})
        rows = encoded.filter(pl.col("encoder") == encoder)
        found = wanted.join(rows, on="sequence_id", how="left", maintain_order="left")
        if found["vectors"].null_count():
            missing = found.filter(pl.col("vectors").is_null())["sequence_id"][0]
            raise StoreError(
                f"encoded_corpus has no vectors of sequence {missing} by {encoder}: it was made by another"
                " encoder or of another corpus; materialise encoded_corpus again"
            )
        self._tokens = len(found["first_piece"][0]) if len(found) else 0
        self._parts = tuple(_parts(found))

    def readings(self, *targets: Float[np.ndarray, " feature"]) -> Float[np.ndarray, "sequence token"]:
        """Return 10 x the largest cosine of a target, of unit length, to a piece of each token, 0 to 10."""
        each = [
            strongest(_nearest(part.vectors.astype(np.float32, copy=False), targets), part.first, part.last)
            for part in self._parts
        ]
        return np.concatenate([np.zeros((0, self._tokens)), *each])


def end_vector(text: str, pieces: Pieces) -> Float[np.ndarray, " feature"] | None:
    """Return the unit-length mean over the pieces of the end of a phrase that a text names, in its context.

    None for a text that names no phrase, or an end without pieces.
    """
    named = meant(text)
    if named is None:
        return None
    phrase, start = named
    spans, vectors = pieces(phrase)
    of_end = [place for place, (_, stop) in enumerate(spans) if stop > start]
    mean = vectors[of_end].sum(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length else None


def text_vector(text: str, pieces: Pieces, sentence: Sentence) -> Float[np.ndarray, " feature"]:
    """Return the vector of unit length that a text is held against tokens by: that of its sentence.

    Of a text that names the end of a phrase (`text/phrases.py`), it is the mean over the pieces of that end
    in the context of the phrase: tokens are read in context, too.
    """
    end = end_vector(text, pieces)
    return sentence(text) if end is None else end


def _nearest(
    vectors: Float[np.ndarray, "piece feature"], targets: Sequence[Float[np.ndarray, " feature"]]
) -> Float[np.ndarray, " piece"]:
    """Return the largest cosine of each piece to a target."""
    if len(targets) == 1:  # another product would give other last bits
        return vectors @ targets[0]
    return (vectors @ np.stack(targets, axis=1)).max(axis=1)


def strongest(
    cosines: Float[np.ndarray, " piece"], first: Int[np.ndarray, "*shape"], last: Int[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Return 10 x the largest cosine, at least 0, between first and last piece; 0 where these are -1."""
    # What -1 reads: the place after the last piece.
    values = np.append(cosines.clip(0, 1), 0.0)
    best = values[first]
    for step in range(1, 1 + int((last - first).max(initial=0))):
        best = np.maximum(best, values[np.minimum(first + step, last)])
    return 10 * best.astype(np.float64)


def _parts(rows: pl.DataFrame) -> Iterator[_Part]:
    if rows.is_empty():
        return
    features = int(rows["features"][0])
    sizes = rows["vectors"].bin.size().to_numpy().astype(np.int64) // (2 * features)
    ends = sizes.cumsum()
    held = np.float32 if 4 * features * ends[-1] <= _HELD else np.float16
    # A part begins with each sequence that reaches into the next share of the pieces.
    cuts = [0, *np.flatnonzero(np.diff(ends // _PIECES)) + 1, len(rows)]
    for start, stop in pairwise(cuts):
        part = rows[int(start) : int(stop)]
        vectors = np.frombuffer(b"".join(part["vectors"]), np.dtype("<f2")).reshape(-1, features)
        before = sizes[start:stop].cumsum() - sizes[start:stop]
        first, last = (_placed(part[name], before) for name in ("first_piece", "last_piece"))
        yield _Part(vectors.astype(held), first, last)


def _placed(pieces: pl.Series, before: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, "sequence token"]:
    """Return pieces of sequences as places among the pieces of all of them; -1 stays."""
    own = pieces.explode().to_numpy().reshape(len(before), -1).astype(np.int64)
    return np.where(own < 0, -1, own + before[:, None])

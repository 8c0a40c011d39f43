"""Counter-evidence: excerpts that hold what a neuron fired on elsewhere, and in which it stays silent.

Random silent excerpts would tell next to nothing. These are chosen as near as can be: the same token, and of
the places where it stands those with the same tokens before it. No document of what a neuron is tested on by
its exemplars is shown; those that are shown count as seen, so that no score rests on them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.evidence.exemplars import Neuron, all_time_maximum
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import ShownExcerpts
from neuroscribe.explain.pairs import excerpt_pairs
from neuroscribe.text.marks import Pair

SILENT = 0.1
"""Share of the neuron's largest activation below which it is silent: 0 on the scale of 0 to 10."""
_BEFORE = 2
"""Tokens before the place that make two texts near."""

Place = tuple[int, int]
"""A sequence, and a token's index in it."""


@dataclass(frozen=True)
class NearMisses:
    """Silent excerpts of a neuron, and the sequences they are from."""

    sequence_ids: tuple[int, ...] = ()
    excerpts: tuple[tuple[Pair, ...], ...] = ()
    """The value is 10 where one would expect the neuron to fire, else 0."""


def near_misses(
    evidence: LayerEvidence, neuron: Neuron, shown: ShownExcerpts, *, count: int, length: int
) -> NearMisses:
    """Return up to `count` excerpts of `length` tokens that hold a peak token and leave the neuron silent.

    The peak tokens of `shown` take turns, that of the largest peak first; no two are of one document. Fewer
    where the corpus holds no more; raises KeyError without SAMPLED_ACTIVATIONS.
    """
    peaks = _unlike(evidence, list(zip(shown.sequence_ids, shown.peaks, strict=True)))
    silent = _Silent.of(evidence, neuron, length)
    turns = zip_longest(*(silent.like(evidence.tokens.ids[sequence], place) for sequence, place in peaks))
    taken = _taken(evidence, neuron, shown)
    places: list[Place] = []
    for place in (place for place in chain.from_iterable(turns) if place is not None):
        (document,) = evidence.documents(np.array([place[0]])).tolist()
        if len(places) < count and document not in taken:
            taken.add(document)
            places.append(place)
    return NearMisses(
        tuple(sequence for sequence, _ in places),
        tuple(_excerpt(evidence, place, length) for place in places),
    )


def _unlike(evidence: LayerEvidence, peaks: Sequence[Place]) -> list[Place]:
    """Return the peaks that are the first of their token."""
    by_token: dict[int, Place] = {}
    for sequence, place in peaks:
        by_token.setdefault(evidence.tokens.ids[sequence][place], (sequence, place))
    return list(by_token.values())


def _taken(evidence: LayerEvidence, neuron: Neuron, shown: ShownExcerpts) -> set[int]:
    """Return the documents that may not be shown: of what is scored by its exemplars, or shown already."""
    scored = evidence.records(neuron).filter(pl.col("split") != "train")["sequence_id"].to_list()
    return set(evidence.documents(np.array([*scored, *shown.sequence_ids], dtype=np.int64)).tolist())


@dataclass(frozen=True)
class _Silent:
    """Where a neuron is silent, over all sequences that were kept of it."""

    sequence_ids: Int[np.ndarray, " sequence"]
    tokens: Int[np.ndarray, "sequence token"]
    places: Bool[np.ndarray, "sequence token"]
    """Whether it is silent in the whole excerpt around a token."""

    @classmethod
    def of(cls, evidence: LayerEvidence, neuron: Neuron, length: int) -> "_Silent":
        """Read a neuron's values; excerpts are `length` tokens long."""
        kept, maximum = evidence.truth(neuron), all_time_maximum(evidence.records(neuron))
        ids = [evidence.tokens.ids[sequence] for sequence in kept.sequence_ids.tolist()]
        tokens = np.array(ids, dtype=np.int64).reshape(kept.values.shape)
        return cls(kept.sequence_ids, tokens, ~_around(kept.values >= SILENT * maximum, length))

    def like(self, own: Sequence[int], place: int) -> Iterator[Place]:
        """Yield where the token at `place` of `own` stands in silence, the nearest texts first."""
        near = _agreeing(self.tokens, own, place)
        rows, columns = np.nonzero((self.tokens == own[place]) & self.places)
        order = np.lexsort((columns, self.sequence_ids[rows], -near[rows, columns]))
        for at in order:
            yield int(self.sequence_ids[rows[at]]), int(columns[at])


def _agreeing(
    tokens: Int[np.ndarray, "sequence token"], own: Sequence[int], place: int
) -> Int[np.ndarray, "sequence token"]:
    """Return how many tokens directly before each place are those before `place` in `own`, up to a few."""
    agreeing = np.zeros(tokens.shape, dtype=np.int64)
    still = np.ones(tokens.shape, dtype=bool)
    for back in range(1, min(_BEFORE, place) + 1):
        same = np.zeros(tokens.shape, dtype=bool)
        same[:, back:] = tokens[:, :-back] == own[place - back]
        still &= same
        agreeing += still
    return agreeing


def _around(fires: Bool[np.ndarray, "sequence token"], length: int) -> Bool[np.ndarray, "sequence token"]:
    """Tell of each token whether the neuron fires anywhere in the excerpt that is shown around it."""
    tokens = fires.shape[1]
    total: Float[np.ndarray, "sequence edge"] = np.zeros((len(fires), tokens + 1))
    total[:, 1:] = fires.cumsum(axis=1)
    starts = (np.arange(tokens) - (2 * length) // 3).clip(0, max(0, tokens - length))
    return total[:, np.minimum(starts + length, tokens)] > total[:, starts]


def _excerpt(evidence: LayerEvidence, place: Place, length: int) -> tuple[Pair, ...]:
    tokens = evidence.tokens[place[0]]
    expected = np.zeros(len(tokens), dtype=np.int64)
    expected[place[1]] = 10
    return tuple(excerpt_pairs(tokens, expected, peak=place[1], length=length))

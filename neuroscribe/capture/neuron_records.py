"""Exemplars: the sequences by which a neuron is explained and scored, with their splits (`splits.py`).

A random sequence that is among a neuron's top ones, or of a document of which the explainer is shown a top
one, is passed over for the next, as no random sequence is shown.

Exemplars of the paper's quantile bands are drawn at random from the sequences whose peak lies in the band: of
the two lower bands from the shared random sequences, of the two upper ones from the capture's pools. They may
be shown, and so none is of a document in `valid` or `test`. The [.999, 1] band is the top list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.capture.reference import by_peak
from neuroscribe.capture.splits import RANDOM_SPLITS, SPLITS, TOP_SPLITS, TRAIN, DocumentSplits, ranks
from neuroscribe.capture.state import EMPTY, CapturePlan, LayerState
from neuroscribe.capture.statistics import quantile_bounds
from neuroscribe.tables.records import NEURON_RECORDS
from neuroscribe.tables.scales import QUANTILES, peak_edges


@dataclass(frozen=True)
class ExemplarPlan:
    """How many exemplars of each kind a neuron gets of what a capture has kept."""

    capture: CapturePlan
    random_exemplars: int
    quantile_exemplars: int
    """Per band."""


@dataclass(frozen=True)
class _Kept:
    """Sequences that were kept of every neuron: a table of candidates for its exemplars."""

    sequence_ids: Int[np.ndarray, "neuron slot"]
    """-1 where there is none."""
    documents: Int[np.ndarray, "neuron slot"]
    """-1 where there is no sequence."""
    vectors: Float[np.ndarray, "neuron slot token"]

    def only(self, chosen: Bool[np.ndarray, "neuron slot"]) -> "_Kept":
        """Return some of the candidates, the others blotted out."""
        return replace(
            self,
            sequence_ids=np.where(chosen, self.sequence_ids, -1),
            documents=np.where(chosen, self.documents, -1),
        )


def neuron_records(
    state: LayerState, layer: int, plan: ExemplarPlan, documents: Int[np.ndarray, " sequence"]
) -> pl.DataFrame:
    """Return the exemplars of all neurons of a layer, sorted by neuron, polarity, kind and rank.

    `documents` says of every sequence of the corpus of which document it is.
    """
    parts = [
        part
        for side, polarity in enumerate(plan.capture.polarities)
        for part in _one_side(state, layer, plan, documents, side=side, polarity=polarity)
    ]
    frame = pl.concat(parts).sort("neuron", "polarity", "kind", "rank", descending=[False, True, True, False])
    return NEURON_RECORDS.checked(frame)


def _one_side(
    state: LayerState,
    layer: int,
    plan: ExemplarPlan,
    documents: Int[np.ndarray, " sequence"],
    *,
    side: int,
    polarity: int,
) -> list[pl.DataFrame]:
    top, *pools = (
        _slots(state, side, pool, plan.capture, documents) for pool in range(len(plan.capture.bounds) - 1)
    )
    of_top = DocumentSplits.dealt(top.documents, TOP_SPLITS)
    random = _without(_shared(state, plan.capture, documents), top)
    chosen = _first(random.only(of_top.of(random.documents) != TRAIN), plan.random_exemplars)
    splits = of_top.then(DocumentSplits.dealt(chosen.documents, RANDOM_SPLITS))
    spare = random.only(chosen.sequence_ids < 0)
    candidates = [spare, spare, *(_without(pool, top) for pool in pools)]
    showable = [kept.only(splits.of(kept.documents) <= TRAIN) for kept in candidates]
    return [
        _drawn(layer, polarity, "top", top, splits),
        _drawn(layer, polarity, "random", chosen, splits),
        *_quantile_rows(_bounds(state, side, polarity), layer, plan, polarity, showable),
    ]


def _slots(
    state: LayerState, side: int, pool: int, plan: CapturePlan, documents: Int[np.ndarray, " sequence"]
) -> _Kept:
    """Return what a pool holds, largest peak first, then smaller id; pool 0 is the top k."""
    slots = (side, slice(None), slice(plan.bounds[pool], plan.bounds[pool + 1]))
    ids = state.top_sequence[slots]
    order = by_peak(state.top_value[slots], ids)
    vectors = state.top_vector[slots].float().numpy()
    ordered = ids.gather(1, order).numpy()
    return _kept(
        np.where(ordered == EMPTY, -1, ordered),
        np.take_along_axis(vectors, order.numpy()[:, :, None], 1),
        documents,
    )


def _shared(state: LayerState, plan: CapturePlan, documents: Int[np.ndarray, " sequence"]) -> _Kept:
    """Return the shared random sequences, the same for every neuron."""
    vectors = state.random_vector.float().permute(2, 0, 1).numpy()
    ids = np.array(plan.random_ids, dtype=np.int64)
    return _kept(np.broadcast_to(ids, vectors.shape[:2]), vectors, documents)


def _kept(
    ids: Int[np.ndarray, "neuron slot"],
    vectors: Float[np.ndarray, "neuron slot token"],
    documents: Int[np.ndarray, " sequence"],
) -> _Kept:
    return _Kept(ids, np.where(ids < 0, -1, documents[ids]), vectors)


def _without(kept: _Kept, taken: _Kept) -> _Kept:
    """Return the candidates that a neuron does not use already."""
    used = (kept.sequence_ids[:, :, None] == taken.sequence_ids[:, None, :]).any(2)
    return kept.only(~used)


def _first(kept: _Kept, count: int) -> _Kept:
    """Return the first so many candidates of each neuron."""
    is_filled = kept.sequence_ids >= 0
    return kept.only(is_filled & (ranks(is_filled) < count))


def _drawn(layer: int, polarity: int, kind: str, kept: _Kept, splits: DocumentSplits) -> pl.DataFrame:
    """Return all candidates as rows, each in the split of its document."""
    is_filled = kept.sequence_ids >= 0
    neurons, slots = np.nonzero(is_filled)
    return _rows(
        layer, polarity, kind, neurons, rank=ranks(is_filled)[neurons, slots],
        sequence=kept.sequence_ids[neurons, slots], vectors=kept.vectors[neurons, slots],
        split=np.array(SPLITS)[splits.of(kept.documents)[neurons, slots]],
    )  # fmt: skip


def _bounds(state: LayerState, side: int, polarity: int) -> Float[np.ndarray, "neuron level"]:
    """Return the quantiles of polarity x peak; no peak lies beyond the extremes of all activations."""
    low, high = np.sort(polarity * state.extremes.double().numpy(), axis=0)
    histogram = state.peak_histogram[side].numpy()
    return quantile_bounds(histogram, QUANTILES, peak_edges(), low=low, high=high)


def _quantile_rows(
    bounds: Float[np.ndarray, "neuron level"],
    layer: int,
    plan: ExemplarPlan,
    polarity: int,
    candidates: Sequence[_Kept],
) -> list[pl.DataFrame]:
    """Return the first few candidates of each band, by sequence id, which is a random order."""
    parts: list[pl.DataFrame] = []
    for band, kept in enumerate(candidates[: len(QUANTILES) - 1]):
        low, high = bounds[:, band], bounds[:, band + 1]
        peaks = (polarity * kept.vectors).max(axis=2)
        above = peaks >= low[:, None] if band == 0 else peaks > low[:, None]
        inside = (kept.sequence_ids >= 0) & above & (peaks <= high[:, None])
        neurons, slots, rank = _first_by_id(kept.sequence_ids, inside, plan.quantile_exemplars)
        signed = np.sort(polarity * np.stack([low[neurons], high[neurons]]), axis=0)
        band_rows = _rows(
            layer, polarity, "quantile", neurons, rank=rank + band * plan.quantile_exemplars,
            sequence=kept.sequence_ids[neurons, slots], vectors=kept.vectors[neurons, slots],
            split="train", bounds=(signed[0], signed[1]),
        )  # fmt: skip
        parts.append(band_rows)
    return parts


def _first_by_id(
    ids: Int[np.ndarray, "neuron slot"], inside: Bool[np.ndarray, "neuron slot"], count: int
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return neurons, slots and ranks of the slots inside with the smallest ids."""
    order = np.where(inside, ids, EMPTY).argsort(axis=1, kind="stable")[:, :count]
    neurons, rank = np.nonzero(np.take_along_axis(inside, order, 1))
    return neurons, order[neurons, rank], rank


def _rows(
    layer: int,
    polarity: int,
    kind: str,
    neurons: np.ndarray,
    *,
    rank: np.ndarray,
    sequence: np.ndarray,
    vectors: Float[np.ndarray, "row token"],
    split: str | np.ndarray,
    bounds: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> pl.DataFrame:
    position = (polarity * vectors).argmax(axis=1)
    columns = {
        "layer": layer,
        "neuron": neurons,
        "polarity": polarity,
        "kind": kind,
        "quantile_low": bounds[0],
        "quantile_high": bounds[1],
        "rank": rank,
        "split": split,
        "sequence_id": sequence,
        "peak": vectors[np.arange(len(vectors)), position],
        "peak_position": position,
        "activations": pl.Series(vectors),
    }
    return pl.DataFrame(columns).cast(NEURON_RECORDS.schema)  # pyright: ignore[reportArgumentType]

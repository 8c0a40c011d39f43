"""Exemplars: the sequences by which a neuron is explained and scored, with their splits.

Splits are interleaved and disjoint, as in Bills et al. 2023 (strides of four over the top sequences, of
three over the random ones); the paper's calibration and validation splits are both `valid` here. A random
sequence that is among a neuron's top ones is not used a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import EMPTY, LayerState
from neuroscribe.capture.statistics import quantile_bounds
from neuroscribe.records import NEURON_RECORDS

TOP_SPLITS = ("train", "valid", "valid", "test")
RANDOM_SPLITS = ("valid", "valid", "test")
QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999)
"""Bounds of the paper's quantile bands, as shares of sequences by peak."""


@dataclass(frozen=True)
class ExemplarPlan:
    """How many exemplars of each kind a neuron gets, and which sequences are the shared random ones."""

    random_ids: tuple[int, ...]
    random_exemplars: int
    quantile_exemplars: int
    polarities: tuple[int, ...]


def neuron_records(state: LayerState, layer: int, plan: ExemplarPlan) -> pl.DataFrame:
    """Return the exemplars of all neurons of a layer, sorted by neuron, polarity, kind and rank."""
    parts = [
        part
        for side, polarity in enumerate(plan.polarities)
        for part in _one_side(state, layer, plan, side, polarity)
    ]
    frame = pl.concat(parts).sort("neuron", "polarity", "kind", "rank", descending=[False, True, True, False])
    return NEURON_RECORDS.checked(frame)


def sorted_top(
    state: LayerState, side: int
) -> tuple[Int[np.ndarray, "neuron k"], Int[np.ndarray, "neuron k"]]:
    """Return slots and sequence ids of the top-k, largest peak first, then smaller id."""
    values, ids = state.top_value[side].numpy(), state.top_sequence[side].numpy()
    order = np.lexsort((ids, -values))
    return order, np.take_along_axis(ids, order, 1)


def _one_side(
    state: LayerState, layer: int, plan: ExemplarPlan, side: int, polarity: int
) -> list[pl.DataFrame]:
    order, ids = sorted_top(state, side)
    neurons, k = np.nonzero(ids != EMPTY)
    top = _rows(
        layer, polarity, "top", neurons, rank=k, sequence=ids[neurons, k],
        vectors=_gathered(state.top_vector[side], neurons, order[neurons, k]),
        splits=[TOP_SPLITS[rank % len(TOP_SPLITS)] for rank in k],
    )  # fmt: skip
    random_ids = np.array(plan.random_ids, dtype=np.int64)
    free = _free_slots(random_ids, ids)
    chosen, spare = free[:, : plan.random_exemplars], free[:, plan.random_exemplars :]
    neurons, k = np.nonzero(chosen >= 0)
    slots = chosen[neurons, k]
    drawn = _rows(
        layer, polarity, "random", neurons, rank=k, sequence=random_ids[slots],
        vectors=state.random_vector.numpy()[slots, :, neurons],
        splits=[RANDOM_SPLITS[rank % len(RANDOM_SPLITS)] for rank in k],
    )  # fmt: skip
    return [top, drawn, _quantile_rows(state, layer, plan, side, polarity, spare)]


def _free_slots(
    random_ids: Int[np.ndarray, " random"], top_ids: Int[np.ndarray, "neuron k"]
) -> Int[np.ndarray, "neuron random"]:
    """Return per neuron the random slots whose sequence is not in its top-k, in order, then -1."""
    taken = (top_ids[:, :, None] == random_ids[None, None, :]).any(1)
    slots = np.where(taken, len(random_ids), np.arange(len(random_ids)))
    slots.sort(axis=1)
    return np.where(slots == len(random_ids), -1, slots)


def _quantile_rows(
    state: LayerState,
    layer: int,
    plan: ExemplarPlan,
    side: int,
    polarity: int,
    spare: Int[np.ndarray, "neuron spare"],
) -> pl.DataFrame:
    """Sort the random sequences not yet used into bands by peak, and keep the first few of each band."""
    bounds = quantile_bounds(state.peak_histogram[side].numpy(), QUANTILES)
    vectors, random_ids = state.random_vector.numpy(), np.array(plan.random_ids, dtype=np.int64)
    peaks = (polarity * vectors).max(axis=1).T
    parts: list[pl.DataFrame] = []
    for band in range(len(QUANTILES) - 1):
        low, high = bounds[:, band], bounds[:, band + 1]
        spare_peaks = np.take_along_axis(peaks, spare.clip(0), 1)
        above = spare_peaks >= low[:, None] if band == 0 else spare_peaks > low[:, None]
        inside = (spare >= 0) & above & (spare_peaks <= high[:, None])
        neurons, column = np.nonzero(inside & (np.cumsum(inside, axis=1) <= plan.quantile_exemplars))
        slots = spare[neurons, column]
        rank = np.cumsum(inside, axis=1)[neurons, column] - 1 + band * plan.quantile_exemplars
        signed = np.sort(polarity * np.stack([low[neurons], high[neurons]]), axis=0)
        band_rows = _rows(
            layer, polarity, "quantile", neurons, rank=rank, sequence=random_ids[slots],
            vectors=vectors[slots, :, neurons], splits=["train"] * len(neurons),
            bounds=(signed[0], signed[1]),
        )  # fmt: skip
        parts.append(band_rows)
    return pl.concat(parts)


def _gathered(
    vectors: Float[Tensor, "neuron k token"], neurons: np.ndarray, slots: np.ndarray
) -> Float[np.ndarray, "row token"]:
    return vectors.numpy()[neurons, slots]


def _rows(
    layer: int,
    polarity: int,
    kind: str,
    neurons: np.ndarray,
    *,
    rank: np.ndarray,
    sequence: np.ndarray,
    vectors: Float[np.ndarray, "row token"],
    splits: Sequence[str],
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
) -> pl.DataFrame:
    count = len(neurons)
    position = (polarity * vectors).argmax(axis=1) if count else np.zeros(0, dtype=np.int64)
    low, high = bounds if bounds is not None else (None, None)
    flat = pl.Series(vectors.reshape(-1).astype(np.float32))
    lists = flat.reshape((count, vectors.shape[1])) if count else pl.Series(dtype=pl.Float32)
    return NEURON_RECORDS.frame(
        {
            "layer": np.full(count, layer, dtype=np.int16),
            "neuron": neurons.astype(np.int32),
            "polarity": np.full(count, polarity, dtype=np.int8),
            "kind": [kind] * count,
            "quantile_low": [None] * count if low is None else low.astype(np.float32),
            "quantile_high": [None] * count if high is None else high.astype(np.float32),
            "rank": rank.astype(np.int32),
            "split": list(splits),
            "sequence_id": sequence.astype(np.uint32),
            "peak": vectors[np.arange(count), position].astype(np.float32),
            "peak_position": position.astype(np.int16),
            "activations": lists.cast(pl.List(pl.Float32)) if count else [],
        }
    )

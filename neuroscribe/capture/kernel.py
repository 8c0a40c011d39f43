"""The capture step for CPUs, compiled: one read of the activations feeds everything.

Equal to `reference.take` to the bit: the same order of additions, the same ties. Neurons are independent,
so threads share out strips of neurons and never meet. Of each strip and sequence the values are first copied
into a block that stays in the first-level cache, widened from bf16 on the way; the loops over it are plain
enough for the compiler to take eight or sixteen neurons at once.
"""

# pyright: basic
import inspect
from collections.abc import Callable

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import (
    BINS,
    EIGHTH_OCTAVES,
    HALF_OCTAVES,
    LOWEST_EXPONENT,
    CapturePlan,
    LayerState,
)

_STRIP = 128
"""Neurons a thread takes at once: wide enough that rows are read along, not page by page, and narrow enough
that the copied block and the bins in use stay in the near caches."""
_ZERO = np.float32(0)
"""Added to a value, turns -0.0 into 0.0, so that equal values have equal bits."""
_FIRST_STEP = 2 * (127 + LOWEST_EXPONENT) - 1
_FIRST_PEAK_STEP = 8 * (127 + LOWEST_EXPONENT) - 1


def _compiled(*, parallel: bool = False, inline: bool = False) -> Callable:
    """Return numba's compiler; it gets the bare function where tests have wrapped it to check shapes."""
    compiler = numba.njit(
        cache=True, error_model="numpy", parallel=parallel, inline="always" if inline else "never"
    )
    return lambda function: compiler(inspect.unwrap(function))


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence position neuron"],
    sequence_ids: Int[Tensor, " sequence"],
    plan: CapturePlan,
    *,
    skipped: int = 0,
) -> None:
    """Add a batch of adjoining sequences to the top k, pools, moments and histograms.

    The first `skipped` positions of each are prefix tokens and not looked at.
    """
    dtype, ids = state.top_vector.dtype, sequence_ids.numpy()
    raw = _bits(activations.to(dtype).contiguous())
    _take(
        raw,
        skipped,
        16 if dtype == torch.bfloat16 else 0,
        ids,
        plan.members(ids),
        np.array(plan.bounds),
        np.array(plan.polarities, dtype=np.float32),
        state.pivot.numpy(),
        state.sums.numpy(),
        state.extremes.numpy(),
        state.positive.numpy(),
        state.histogram.numpy(),
        state.peak_histogram.numpy(),
        state.top_value.numpy(),
        state.top_sequence.numpy(),
        _bits(state.top_vector),
    )
    state.extend(int(ids[0]), int(ids[-1]) + 1)


def _bits(values: Float[Tensor, "..."]) -> np.ndarray:
    """Return the values' bits as unsigned integers of their own width."""
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.view(torch.int32).numpy().view(np.uint32)


@_compiled(parallel=True)
def _take(
    raw, skipped, shift, ids, members, bounds, signs, pivot, sums, extremes, positive, histogram,
    peak_histogram, top_value, top_sequence, top_vector,
):  # fmt: skip
    neurons = raw.shape[2]
    for strip in numba.prange((neurons + _STRIP - 1) // _STRIP):
        own = slice(strip * _STRIP, min((strip + 1) * _STRIP, neurons))
        _take_strip(
            raw[:, skipped:, own], shift, ids, members, bounds, signs, pivot[own], sums[:, own],
            extremes[:, own], positive[own], histogram[own], peak_histogram[:, own],
            top_value[:, own], top_sequence[:, own], top_vector[:, own],
        )  # fmt: skip


@_compiled()
def _take_strip(
    raw, shift, ids, members, bounds, signs, pivot, sums, extremes, positive, histogram, peak_histogram,
    top_value, top_sequence, top_vector,
):  # fmt: skip
    sequences, tokens, width = raw.shape
    bits = np.empty((tokens, width), dtype=np.int32)
    values = bits.view(np.float32)
    low = np.empty(width, dtype=np.float32)
    high = np.empty(width, dtype=np.float32)
    power = np.empty((4, width), dtype=np.float64)
    fired = np.zeros(width, dtype=np.int32)
    counts = histogram.reshape(width * BINS)
    worst = _worst_slots(bounds, top_value, top_sequence)
    for s in range(sequences):
        for t in range(tokens):
            for n in range(width):
                bits[t, n] = np.int32(np.uint32(raw[s, t, n]) << np.uint32(shift))
        _moments(values, pivot, power, low, high, fired)
        for n in range(width):
            for p in range(4):
                sums[p, n] += power[p, n]
            extremes[0, n] = min(extremes[0, n], low[n]) + _ZERO
            extremes[1, n] = max(extremes[1, n], high[n]) + _ZERO
        _count(bits, counts)
        for side in range(len(signs)):
            peaks = high + _ZERO if signs[side] > 0 else -low + _ZERO
            _count_peaks(peaks.view(np.int32), peak_histogram[side])
            for pool in range(members.shape[1]):
                if members[s, pool]:
                    _keep_top(
                        bits, shift, ids[s], peaks, bounds[pool], bounds[pool + 1], worst[side, pool],
                        top_value[side], top_sequence[side], top_vector[side],
                    )  # fmt: skip
    for n in range(width):
        positive[n] += fired[n]


@_compiled()
def _worst_slots(bounds, top_value, top_sequence):
    sides, width, _ = top_value.shape
    worst = np.empty((sides, len(bounds) - 1, width), dtype=np.int64)
    for side in range(sides):
        for pool in range(len(bounds) - 1):
            for n in range(width):
                worst[side, pool, n] = _worst(
                    top_value[side, n], top_sequence[side, n], bounds[pool], bounds[pool + 1]
                )
    return worst


@_compiled()
def _moments(values, pivot, power, low, high, fired):
    """Sum powers over the tokens in order; four tokens to one load and store of the sums."""
    tokens, width = values.shape
    power[:] = 0.0
    for n in range(width):
        low[n] = values[0, n]
        high[n] = values[0, n]
    whole = tokens - tokens % 4
    for t in range(0, whole, 4):
        for n in range(width):
            _add_powers(values, t, n, 4, pivot, power, low, high, fired)
    for t in range(whole, tokens):
        for n in range(width):
            _add_powers(values, t, n, 1, pivot, power, low, high, fired)


@_compiled(inline=True)
def _add_powers(values, first, n, tokens, pivot, power, low, high, fired):
    one, two, three, four = power[0, n], power[1, n], power[2, n], power[3, n]
    least, most, above = low[n], high[n], fired[n]
    centre = np.float64(pivot[n])
    for step in range(tokens):
        value = values[first + step, n]
        least = value if value < least else least
        most = value if value > most else most
        above += np.int32(value > _ZERO)
        centred = np.float64(value) - centre
        square = centred * centred
        one += centred
        two += square
        three += square * centred
        four += square * square
    power[0, n], power[1, n], power[2, n], power[3, n] = one, two, three, four
    low[n], high[n], fired[n] = least, most, above


@_compiled()
def _count(bits, counts):
    tokens, width = bits.shape
    place = np.empty(width, dtype=np.uint32)
    for t in range(tokens):
        for n in range(width):
            steps = ((bits[t, n] & 0x7FFFFFFF) >> 22) - _FIRST_STEP
            magnitude = min(max(steps, 0), HALF_OCTAVES)
            place[n] = n * BINS + HALF_OCTAVES + (magnitude if bits[t, n] >= 0 else -magnitude)
        for n in range(width):
            counts[place[n]] += 1


@_compiled()
def _count_peaks(bits, peak_histogram):
    for n in range(len(bits)):
        steps = ((bits[n] & 0x7FFFFFFF) >> 20) - _FIRST_PEAK_STEP
        magnitude = min(max(steps, 0), EIGHTH_OCTAVES)
        peak_histogram[n, EIGHTH_OCTAVES + (magnitude if bits[n] >= 0 else -magnitude)] += 1


@_compiled()
def _keep_top(
    bits, shift, sequence, peaks, first, stop, worst, top_value, top_sequence, top_vector
):  # fmt: skip
    for n in range(len(peaks)):
        slot = worst[n]
        least = top_value[n, slot]
        if peaks[n] > least or (peaks[n] == least and sequence < top_sequence[n, slot]):
            top_value[n, slot] = peaks[n]
            top_sequence[n, slot] = sequence
            for t in range(len(bits)):
                top_vector[n, slot, t] = np.uint32(bits[t, n]) >> np.uint32(shift)
            worst[n] = _worst(top_value[n], top_sequence[n], first, stop)


@_compiled()
def _worst(values, ids, first, stop):
    """Return the slot that gives way first: the smallest value, and of those the largest id."""
    worst = first
    for slot in range(first + 1, stop):
        if values[slot] < values[worst] or (values[slot] == values[worst] and ids[slot] > ids[worst]):
            worst = slot
    return worst

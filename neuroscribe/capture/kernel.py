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
from jaxtyping import Float
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


def _compiled(*, parallel: bool = False, inline: bool = False, any_order: bool = False) -> Callable:
    """Return numba's compiler; it gets the bare function where tests have wrapped it to check shapes.

    `any_order` is for a minimum over values that are no NaN and whose zeros have one sign: exact however it
    is grouped, so eight or sixteen may be compared at once.
    """
    compiler = numba.njit(
        cache=True,
        error_model="numpy",
        parallel=parallel,
        inline="always" if inline else "never",
        fastmath={"nnan", "nsz"} if any_order else False,
    )
    return lambda function: compiler(inspect.unwrap(function))


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence position neuron"],
    ids: range,
    plan: CapturePlan,
    *,
    skipped: int = 0,
) -> bool:
    """Add the adjoining sequences `ids` to the top k, pools, moments and histograms.

    The first `skipped` positions of each are prefix tokens and not looked at. Returns whether all sums are
    finite.
    """
    dtype = state.top_vector.dtype
    finite = _take(
        _bits(activations.to(dtype).contiguous()),
        skipped,
        16 if dtype == torch.bfloat16 else 0,
        ids.start,
        plan.members(ids),
        np.array(plan.bounds),
        np.array(plan.polarities, dtype=np.float32),
        state.pivot.numpy(),
        state.sums.numpy(),
        state.extremes.numpy(),
        state.positive.numpy(),
        state.histogram.numpy(),
        state.peak_histogram.numpy(),
        state.threshold.numpy(),
        state.top_value.numpy(),
        state.top_sequence.numpy(),
        _bits(state.top_vector),
    )
    state.extend(ids.start, ids.stop)
    return bool(finite)


def _bits(values: Float[Tensor, "..."]) -> np.ndarray:
    """Return the values' bits as unsigned integers of their own width."""
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.view(torch.int32).numpy().view(np.uint32)


@_compiled(parallel=True)
def _take(
    raw, skipped, shift, first_id, members, bounds, signs, pivot, sums, extremes, positive, histogram,
    peak_histogram, threshold, top_value, top_sequence, top_vector,
):  # fmt: skip
    neurons = raw.shape[2]
    strips = (neurons + _STRIP - 1) // _STRIP
    finite = np.zeros(strips, dtype=np.bool_)
    for strip in numba.prange(strips):
        own = slice(strip * _STRIP, min((strip + 1) * _STRIP, neurons))
        finite[strip] = _take_strip(
            raw[:, skipped:, own], shift, first_id, members, bounds, signs, pivot[own], sums[:, own],
            extremes[:, own], positive[own], histogram[own], peak_histogram[:, own],
            threshold[:, :, own], top_value[:, own], top_sequence[:, own], top_vector[:, own],
        )  # fmt: skip
    return finite.all()


@_compiled()
def _take_strip(
    raw, shift, first_id, members, bounds, signs, pivot, sums, extremes, positive, histogram, peak_histogram,
    threshold, top_value, top_sequence, top_vector,
):  # fmt: skip
    sequences, tokens, width = raw.shape
    bits = np.empty((tokens, width), dtype=np.int32)
    values = bits.view(np.float32)
    low = np.empty(width, dtype=np.float32)
    high = np.empty(width, dtype=np.float32)
    power = np.empty((4, width), dtype=np.float64)
    fired = np.zeros(width, dtype=np.int32)
    counts = histogram.reshape(width * BINS)
    for s in range(sequences):
        _widen(raw[s], shift, bits)
        _moments(values, pivot, power, low, high, fired)
        _add(power, low, high, sums, extremes)
        _count(bits, width, counts)
        for side in range(len(signs)):
            peaks = high + _ZERO if signs[side] > 0 else -low + _ZERO
            _count_peaks(peaks.view(np.int32), peak_histogram[side])
            for pool in range(members.shape[1]):
                if members[s, pool]:
                    _keep_top(
                        bits, shift, first_id + s, peaks, bounds[pool], bounds[pool + 1],
                        threshold[side, pool], top_value[side], top_sequence[side], top_vector[side],
                    )  # fmt: skip
    finite = True
    for n in range(width):
        positive[n] += fired[n]
        finite &= np.isfinite(sums[1, n])
    return finite


@_compiled()
def _widen(raw, shift, bits):
    """Copy a sequence's values as the bits of fp32; those of bf16 are its upper half."""
    for t in range(raw.shape[0]):
        for n in range(raw.shape[1]):
            bits[t, n] = np.int32(np.uint32(raw[t, n]) << np.uint32(shift))


@_compiled()
def _add(power, low, high, sums, extremes):
    for p in range(4):
        for n in range(len(low)):
            sums[p, n] += power[p, n]
    for n in range(len(low)):
        extremes[0, n] = (low[n] if low[n] < extremes[0, n] else extremes[0, n]) + _ZERO
        extremes[1, n] = (high[n] if high[n] > extremes[1, n] else extremes[1, n]) + _ZERO


@_compiled(any_order=True)
def _smallest(values):
    smallest = values[0]
    for value in values:
        smallest = value if value < smallest else smallest
    return smallest


@_compiled()
def _moments(values, pivot, power, low, high, fired):
    """Sum powers over the tokens in order; four tokens to one load and store of the sums."""
    tokens, width = len(values), len(low)
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
def _count(bits, width, counts):
    place = np.empty(width, dtype=np.uint32)
    for t in range(len(bits)):
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
def _keep_top(bits, shift, sequence, peaks, first, stop, least, top_value, top_sequence, top_vector):
    for n in range(len(peaks)):
        if peaks[n] >= least[n]:
            slot = _worst(top_value[n], top_sequence[n], first, stop)
            if peaks[n] > least[n] or sequence < top_sequence[n, slot]:
                top_value[n, slot] = peaks[n]
                top_sequence[n, slot] = sequence
                for t in range(len(bits)):
                    top_vector[n, slot, t] = np.uint32(bits[t, n]) >> np.uint32(shift)
                least[n] = _smallest(top_value[n, first:stop])


@_compiled()
def _worst(values, ids, first, stop):
    """Return the slot that gives way first: the smallest value, and of those the largest id."""
    worst = first
    for slot in range(first + 1, stop):
        if values[slot] < values[worst] or (values[slot] == values[worst] and ids[slot] > ids[worst]):
            worst = slot
    return worst

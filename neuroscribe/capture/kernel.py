"""The capture step for CPUs, compiled: one read of the activations feeds everything.

Equal to `reference.take` to the bit: the same order of additions, the same ties. Neurons are independent,
so threads share out neurons and never meet.
"""

# pyright: basic
import inspect
from collections.abc import Callable

import numba
import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import HALF_OCTAVES, LOWEST_EXPONENT, LayerState

_STRIP = 64
"""Neurons a thread takes at once: two cache lines of each row."""
_ZERO = np.float32(0)
"""Added to a value, turns -0.0 into 0.0, so that equal values have equal bits."""
_FIRST_STEP = 2 * (127 + LOWEST_EXPONENT) - 1


def _compiled(*, parallel: bool = False) -> Callable:
    """Return numba's compiler; it gets the bare function where tests have wrapped it to check shapes."""
    compiler = numba.njit(cache=True, error_model="numpy", parallel=parallel)
    return lambda function: compiler(inspect.unwrap(function))


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence token neuron"],
    sequence_ids: Int[Tensor, " sequence"],
    polarities: tuple[int, ...],
) -> None:
    """Add a batch of sequences, in ascending order of id, to the top-k, moments and histograms."""
    values = activations.contiguous().numpy()
    if state.sequences == 0:
        state.pivot.copy_(activations[0, 0])
    _take(
        values,
        values.view(np.int32),
        sequence_ids.numpy(),
        np.array(polarities, dtype=np.float32),
        state.pivot.numpy(),
        state.sums.numpy(),
        state.extremes.numpy(),
        state.positive.numpy(),
        state.histogram.numpy(),
        state.peak_histogram.numpy(),
        state.top_value.numpy(),
        state.top_sequence.numpy(),
        state.top_vector.numpy(),
    )
    state.sequences += len(values)


@_compiled()
def _bin(bits):
    steps = ((bits & 0x7FFFFFFF) >> 22) - _FIRST_STEP
    magnitude = min(max(steps, 0), HALF_OCTAVES)
    return HALF_OCTAVES - magnitude if bits < 0 else HALF_OCTAVES + magnitude


@_compiled(parallel=True)
def _take(
    values, bits, ids, signs, pivot, sums, extremes, positive, histogram, peak_histogram,
    top_value, top_sequence, top_vector,
):  # fmt: skip
    neurons = values.shape[2]
    for strip in numba.prange((neurons + _STRIP - 1) // _STRIP):
        own = slice(strip * _STRIP, min((strip + 1) * _STRIP, neurons))
        _take_strip(
            values[:, :, own], bits[:, :, own], ids, signs, pivot[own], sums[:, own], extremes[:, own],
            positive[own], histogram[own], peak_histogram[:, own],
            top_value[:, own], top_sequence[:, own], top_vector[:, own],
        )  # fmt: skip


@_compiled()
def _take_strip(
    values, bits, ids, signs, pivot, sums, extremes, positive, histogram, peak_histogram,
    top_value, top_sequence, top_vector,
):  # fmt: skip
    sequences, _, width = values.shape
    low = np.empty(width, dtype=np.float32)
    high = np.empty(width, dtype=np.float32)
    power = np.empty((4, width), dtype=np.float64)
    worst = np.empty((len(signs), width), dtype=np.int64)
    for side in range(len(signs)):
        for n in range(width):
            worst[side, n] = _worst(top_value[side, n], top_sequence[side, n])
    for s in range(sequences):
        _moments(values[s], pivot, power, low, high)
        for n in range(width):
            for p in range(4):
                sums[p, n] += power[p, n]
            extremes[0, n] = min(extremes[0, n], low[n]) + _ZERO
            extremes[1, n] = max(extremes[1, n], high[n]) + _ZERO
        _count(values[s], bits[s], positive, histogram)
        for side in range(len(signs)):
            peaks = high if signs[side] > 0 else -low
            _keep_top(
                values[s], ids[s], peaks, worst[side], peak_histogram[side],
                top_value[side], top_sequence[side], top_vector[side],
            )  # fmt: skip


@_compiled()
def _count(values, bits, positive, histogram):
    tokens, width = values.shape
    for t in range(tokens):
        for n in range(width):
            histogram[n, _bin(bits[t, n])] += 1
            positive[n] += values[t, n] > 0


@_compiled()
def _keep_top(values, sequence, peaks, worst, peak_histogram, top_value, top_sequence, top_vector):
    bits = peaks.view(np.int32)
    for n in range(len(peaks)):
        peak_histogram[n, _bin(bits[n])] += 1
        slot = worst[n]
        least = top_value[n, slot]
        if peaks[n] > least or (peaks[n] == least and sequence < top_sequence[n, slot]):
            top_value[n, slot] = peaks[n] + _ZERO
            top_sequence[n, slot] = sequence
            for t in range(len(values)):
                top_vector[n, slot, t] = values[t, n]
            worst[n] = _worst(top_value[n], top_sequence[n])


@_compiled()
def _moments(rows, pivot, power, low, high):
    tokens, width = rows.shape
    power[:] = 0.0
    for n in range(width):
        low[n] = rows[0, n]
        high[n] = rows[0, n]
    for t in range(tokens):
        for n in range(width):
            value = rows[t, n]
            low[n] = min(low[n], value)
            high[n] = max(high[n], value)
            centred = np.float64(value) - np.float64(pivot[n])
            square = centred * centred
            power[0, n] += centred
            power[1, n] += square
            power[2, n] += square * centred
            power[3, n] += square * square


@_compiled()
def _worst(values, ids):
    """Return the slot that gives way first: the smallest value, and of those the largest id."""
    worst = 0
    for slot in range(1, len(values)):
        if values[slot] < values[worst] or (values[slot] == values[worst] and ids[slot] > ids[worst]):
            worst = slot
    return worst

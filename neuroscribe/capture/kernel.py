"""The capture step for CPUs, compiled: one read of the activations feeds everything.

Equal to `reference.take` to the bit: the same order of additions, the same ties. Neurons are independent,
so threads share out neurons and never meet.
"""

# pyright: basic
import numba
import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import HALF_OCTAVES, LOWEST_EXPONENT, LayerState

_STRIP = 64
"""Neurons a thread takes at once: two cache lines of each row."""
_FIRST_STEP = 2 * (127 + LOWEST_EXPONENT) - 1


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


@numba.njit(cache=True, inline="always")
def _bin(bits):
    steps = ((bits & 0x7FFFFFFF) >> 22) - _FIRST_STEP
    magnitude = min(max(steps, 0), HALF_OCTAVES)
    return HALF_OCTAVES - magnitude if bits < 0 else HALF_OCTAVES + magnitude


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _take(
    values, bits, ids, signs, pivot, sums, extremes, positive, histogram, peak_histogram,
    top_value, top_sequence, top_vector,
):  # fmt: skip
    sequences, tokens, neurons = values.shape
    strips = (neurons + _STRIP - 1) // _STRIP
    for strip in numba.prange(strips):
        first = strip * _STRIP
        last = min(first + _STRIP, neurons)
        width = last - first
        low = np.empty(width, dtype=np.float32)
        high = np.empty(width, dtype=np.float32)
        low_bits = low.view(np.int32)
        high_bits = high.view(np.int32)
        power = np.empty((4, width), dtype=np.float64)
        worst = np.empty((len(signs), width), dtype=np.int64)
        for side in range(len(signs)):
            for n in range(width):
                worst[side, n] = _worst(top_value[side, first + n], top_sequence[side, first + n])
        for s in range(sequences):
            _moments(values[s, :, first:last], pivot[first:last], power, low, high)
            for n in range(width):
                neuron = first + n
                for p in range(4):
                    sums[p, neuron] += power[p, n]
                extremes[0, neuron] = min(extremes[0, neuron], low[n])
                extremes[1, neuron] = max(extremes[1, neuron], high[n])
            for t in range(tokens):
                for n in range(width):
                    histogram[first + n, _bin(bits[s, t, first + n])] += 1
                    positive[first + n] += values[s, t, first + n] > 0
            for side in range(len(signs)):
                for n in range(width):
                    peak = high[n] if signs[side] > 0 else -low[n]
                    where = _bin(high_bits[n]) if signs[side] > 0 else 2 * HALF_OCTAVES - _bin(low_bits[n])
                    peak_histogram[side, first + n, where] += 1
                    slot = worst[side, n]
                    least = top_value[side, first + n, slot]
                    if peak > least or (peak == least and ids[s] < top_sequence[side, first + n, slot]):
                        top_value[side, first + n, slot] = peak
                        top_sequence[side, first + n, slot] = ids[s]
                        for t in range(tokens):
                            top_vector[side, first + n, slot, t] = values[s, t, first + n]
                        worst[side, n] = _worst(top_value[side, first + n], top_sequence[side, first + n])


@numba.njit(cache=True, error_model="numpy")
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
            centred = np.float64(np.float32(value - pivot[n]))
            square = centred * centred
            power[0, n] += centred
            power[1, n] += square
            power[2, n] += square * centred
            power[3, n] += square * square


@numba.njit(cache=True, error_model="numpy")
def _worst(values, ids):
    """Return the slot that gives way first: the smallest value, and of those the largest id."""
    worst = 0
    for slot in range(1, len(values)):
        if values[slot] < values[worst] or (values[slot] == values[worst] and ids[slot] > ids[worst]):
            worst = slot
    return worst

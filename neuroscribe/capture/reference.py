"""The specification of a capture step in plain torch: what the fast kernels must equal, on any device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import BINS, HALF_OCTAVES, LOWEST_EXPONENT, LayerState


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence token neuron"],
    sequence_ids: Int[Tensor, " sequence"],
    polarities: tuple[int, ...],
) -> None:
    """Add a batch of sequences, in ascending order of id, to the top-k, moments and histograms."""
    if state.sequences == 0:
        state.pivot.copy_(activations[0, 0])
    for sequence in activations:
        centred = sequence.double() - state.pivot.double()
        square = centred * centred
        for power, values in enumerate((centred, square, square * centred, square * square)):
            state.sums[power] += _sum_in_order(values)
    # Adding 0 turns -0.0 into 0.0, so that equal values have equal bits.
    state.extremes[0] = torch.minimum(state.extremes[0], activations.amin((0, 1))) + 0.0
    state.extremes[1] = torch.maximum(state.extremes[1], activations.amax((0, 1))) + 0.0
    state.positive += (activations > 0).sum((0, 1))
    state.histogram += _counts(activations.flatten(0, 1).T)
    for side, polarity in enumerate(polarities):
        peaks = (polarity * activations).amax(1) + 0.0
        state.peak_histogram[side] += _counts(peaks.T)
        _keep_top(state, side, peaks, activations, sequence_ids)
    state.sequences += len(activations)


def bins(values: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Return the histogram bin of each value: by sign, exponent and first mantissa bit of its fp32 form."""
    bits = values.contiguous().view(torch.int32)
    steps = ((bits & 0x7FFFFFFF) >> 22) - 2 * (127 + LOWEST_EXPONENT) + 1
    magnitude = steps.clamp(0, HALF_OCTAVES).long()
    return HALF_OCTAVES + torch.where(bits < 0, -magnitude, magnitude)


def _counts(values: Float[Tensor, "neuron value"]) -> Int[Tensor, "neuron bin"]:
    counts = torch.zeros(len(values), BINS, dtype=torch.int64, device=values.device)
    where = bins(values)
    return counts.scatter_add_(1, where, torch.ones_like(where))


def _sum_in_order(values: Float[Tensor, "token neuron"]) -> Float[Tensor, " neuron"]:
    """Sum over tokens one after the other: the order, and so the last bit, is part of the specification."""
    return torch.cumsum(values, 0)[-1]


def _keep_top(
    state: LayerState,
    side: int,
    peaks: Float[Tensor, "sequence neuron"],
    activations: Float[Tensor, "sequence token neuron"],
    sequence_ids: Int[Tensor, " sequence"],
) -> None:
    """Keep the k largest peaks; of equal peaks, the one with the smaller sequence id."""
    k = state.top_value.shape[2]
    value = torch.cat([state.top_value[side], peaks.T], 1)
    ids = torch.cat([state.top_sequence[side], sequence_ids.expand(peaks.shape[1], -1)], 1)
    vector = torch.cat([state.top_vector[side], activations.permute(2, 0, 1)], 1)
    by_id = ids.argsort(dim=1, stable=True)
    order = by_id.gather(1, value.gather(1, by_id).argsort(dim=1, descending=True, stable=True))[:, :k]
    state.top_value[side] = value.gather(1, order)
    state.top_sequence[side] = ids.gather(1, order)
    state.top_vector[side] = vector.gather(1, order[:, :, None].expand(-1, -1, vector.shape[2]))

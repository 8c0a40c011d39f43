"""The specification of a capture step in plain torch: what the fast kernels must equal, on any device."""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import CapturePlan, LayerState
from neuroscribe.tables.scales import HIGHEST_EXPONENT, LOWEST_EXPONENT


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
    values = activations[:, skipped:].to(state.top_vector.dtype).float()
    for sequence in values:
        centred = sequence.double() - state.pivot.double()
        square = centred * centred
        for row, powers in enumerate((centred, square, square * centred, square * square)):
            # One token after the other: the order, and so the last bit, is part of the specification.
            state.sums[row] += torch.cumsum(powers, 0)[-1]
    # Adding 0 turns -0.0 into 0.0, so that equal values have equal bits.
    state.extremes[0] = torch.minimum(state.extremes[0], values.amin((0, 1))) + 0.0
    state.extremes[1] = torch.maximum(state.extremes[1], values.amax((0, 1))) + 0.0
    state.positive += (values > 0).sum((0, 1))
    if plan.token_histogram:
        _count(state.histogram, bins(values.flatten(0, 1).T, 2))
    members = torch.from_numpy(plan.members(ids)).to(values.device)  # pyright: ignore[reportUnknownMemberType]
    sequence_ids = torch.arange(ids.start, ids.stop, device=values.device)
    for side, polarity in enumerate(plan.polarities):
        peaks = (polarity * values).amax(1) + 0.0
        _count(state.peak_histogram[side], bins(peaks.T, 8))
        for pool, (first, stop) in enumerate(pairwise(plan.bounds)):
            taken = members[:, pool]
            _keep_top(state, side, slice(first, stop), peaks[taken], values[taken], sequence_ids[taken])
            state.threshold[side, pool] = state.top_value[side, :, first:stop].amin(1)
    state.extend(ids.start, ids.stop)
    return bool(torch.isfinite(state.sums[1]).all())


def bins(values: Float[Tensor, "..."], steps: int) -> Int[Tensor, "..."]:
    """Return each value's bin, by sign, exponent and first mantissa bits of its fp32 form.

    `steps` per octave (2 or 8), on either side of zero; the middle bin holds what is too small for others.
    """
    half = (HIGHEST_EXPONENT - LOWEST_EXPONENT) * steps
    bits = values.contiguous().view(torch.int32)
    magnitude = ((bits & 0x7FFFFFFF) >> (24 - steps.bit_length())) - steps * (127 + LOWEST_EXPONENT) + 1
    magnitude = magnitude.clamp(0, half).long()
    return half + torch.where(bits < 0, -magnitude, magnitude)


def _count(counts: Int[Tensor, "neuron bin"], where: Int[Tensor, "neuron value"]) -> None:
    counts.scatter_add_(1, where, torch.ones_like(where, dtype=counts.dtype))


def _keep_top(
    state: LayerState,
    side: int,
    slots: slice,
    peaks: Float[Tensor, "sequence neuron"],
    values: Float[Tensor, "sequence token neuron"],
    sequence_ids: Int[Tensor, " sequence"],
) -> None:
    """Keep the largest peaks; of equal ones, those with the smaller sequence ids."""
    kept = (side, slice(None), slots)
    value = torch.cat([state.top_value[kept], peaks.T], 1)
    ids = torch.cat([state.top_sequence[kept], sequence_ids.expand(peaks.shape[1], -1)], 1)
    vector = torch.cat([state.top_vector[kept], values.permute(2, 0, 1).to(state.top_vector.dtype)], 1)
    order = by_peak(value, ids)[:, : slots.stop - slots.start]
    state.top_value[kept] = value.gather(1, order)
    state.top_sequence[kept] = ids.gather(1, order)
    state.top_vector[kept] = vector.gather(1, order[:, :, None].expand(-1, -1, vector.shape[2]))


def by_peak(
    value: Float[Tensor, "neuron slot"], ids: Int[Tensor, "neuron slot"]
) -> Int[Tensor, "neuron slot"]:
    """Return each neuron's slots, largest value first, and of equal values the smaller id first."""
    by_id = ids.argsort(dim=1, stable=True)
    return by_id.gather(1, value.gather(1, by_id).argsort(dim=1, descending=True, stable=True))

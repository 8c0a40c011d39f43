"""The capture step in operations on whole batches, for GPUs: nothing waits for the device until a block ends.

Equal to `reference.take` to the bit but for the power sums, whose additions a device orders as it likes.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.capture.reference import bins
from neuroscribe.capture.state import CapturePlan, LayerState

_LAST_ID = 2**32 - 1
"""Sequence ids are below it; an empty slot has it, and so gives way to every sequence."""


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence position neuron"],
    ids: range,
    plan: CapturePlan,
    *,
    skipped: int = 0,
) -> Bool[Tensor, ""]:
    """Add the adjoining sequences `ids` to the top k, pools, moments and histograms.

    The first `skipped` positions of each are prefix tokens and not looked at. Returns, on the device, whether
    all sums are finite.
    """
    kept = activations[:, skipped:].to(state.top_vector.dtype)
    values = kept.float()
    # Central moments are differences of these sums: fp64, and powers about a value that the corpus has rather
    # than about 0, leave digits over for that.
    sums = _sums_on(values.device)(values, state.pivot)
    state.sums += sums
    low, high = values.amin(1), values.amax(1)
    # Adding 0 turns -0.0 into 0.0, so that equal values have equal bits, and equal keys below.
    state.extremes[0] = torch.minimum(state.extremes[0], low.amin(0)) + 0.0
    state.extremes[1] = torch.maximum(state.extremes[1], high.amax(0)) + 0.0
    state.positive += (values > 0).sum((0, 1))
    if plan.token_histogram:
        _count(state.histogram, bins(values.flatten(0, 1).T, 2))
    members = plan.members(ids)
    sequence_ids = torch.arange(ids.start, ids.stop, device=values.device)
    for side, polarity in enumerate(plan.polarities):
        peaks = (high if polarity > 0 else -low) + 0.0
        _count(state.peak_histogram[side], bins(peaks.T, 8))
        for pool, (first, stop) in enumerate(pairwise(plan.bounds)):
            place = (side, pool, slice(first, stop))
            # `members` lies on the CPU: to look at it makes nothing wait for the device.
            if members[:, pool].all():
                _keep_top(state, place, peaks, kept, sequence_ids)
            elif members[:, pool].any():
                taken = members[:, pool].nonzero()[0].tolist()
                _keep_top(state, place, peaks[taken], kept[taken], sequence_ids[taken])
    state.extend(ids.start, ids.stop)
    # Squares cannot cancel: one NaN or inf is enough to leave their sum without a finite value.
    return torch.isfinite(sums[1]).all()


@cache
def _sums_on(device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the power sums' function, fused into one reading of the values where there is a GPU."""
    compiled = cast(Any, torch).compile
    return compiled(_power_sums, dynamic=True) if device.type == "cuda" else _power_sums


def _power_sums(
    values: Float[Tensor, "sequence token neuron"], pivot: Float[Tensor, " neuron"]
) -> Float[Tensor, "4 neuron"]:
    centred = values.double() - pivot.double()
    square = centred * centred
    powers = (centred, square, square * centred, square * square)
    return torch.stack([power.sum((0, 1)) for power in powers])


def _count(counts: Int[Tensor, "neuron bin"], where: Int[Tensor, "neuron value"]) -> None:
    counts.scatter_add_(1, where, torch.ones((), dtype=counts.dtype, device=counts.device).expand_as(where))


def _keep_top(
    state: LayerState,
    place: tuple[int, int, slice],
    peaks: Float[Tensor, "sequence neuron"],
    kept: Float[Tensor, "sequence token neuron"],
    sequence_ids: Int[Tensor, " sequence"],
) -> None:
    """Keep the largest peaks; of equal ones, those with the smaller sequence ids."""
    side, pool, slots = place
    kept_slots, size = (side, slice(None), slots), slots.stop - slots.start
    value = torch.cat([state.top_value[kept_slots], peaks.T], 1)
    sequence = torch.cat([state.top_sequence[kept_slots], sequence_ids.expand(peaks.shape[1], -1)], 1)
    order = _keys(value, sequence).topk(size, dim=1).indices
    vector = torch.cat([state.top_vector[kept_slots], kept.permute(2, 0, 1)], 1)
    state.top_value[kept_slots] = value.gather(1, order)
    state.top_sequence[kept_slots] = sequence.gather(1, order)
    state.top_vector[kept_slots] = vector.gather(1, order[:, :, None].expand(-1, -1, vector.shape[2]))
    state.threshold[side, pool] = state.top_value[kept_slots].amin(1)


def _keys(
    value: Float[Tensor, "neuron slot"], sequence: Int[Tensor, "neuron slot"]
) -> Int[Tensor, "neuron slot"]:
    """Return whole numbers that order by value, then by smaller sequence id: one comparison, no ties."""
    # IEEE 754 numbers of one sign order as their bits read as integers, negative ones the wrong way round:
    # flipping all bits but the sign puts those right. The id counts down in the low half.
    bits = value.view(torch.int32).long()
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF)
    return (ordered << 32) + (_LAST_ID - sequence.clamp(max=_LAST_ID))

"""Joins the states of shards of a corpus into one: exact, in any order and any grouping."""

from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.exact import ExactSum
from neuroscribe.capture.reference import by_peak
from neuroscribe.capture.state import CapturePlan, LayerState, joined
from neuroscribe.errors import CaptureError


def merged(states: Sequence[LayerState], plan: CapturePlan) -> LayerState:
    """Return the state after the sequences of all `states`, which share layer and plan and overlap nowhere.

    Raises CaptureError where a sequence is in two of them.
    """
    return reduce(lambda left, right: _joined(left, right, plan), states)


def _joined(left: LayerState, right: LayerState, plan: CapturePlan) -> LayerState:
    _check_alike(left, right)
    ranges = joined([*left.ranges, *right.ranges])
    # The smaller pivot: of any number of states the same one comes out, in whatever order they are joined.
    pivot = torch.minimum(left.pivot, right.pivot)
    exact = _moved(left, pivot)
    exact.merge(_moved(right, pivot))
    value, sequence, vector = _best(left, right, plan)
    return LayerState(
        top_value=value,
        top_sequence=sequence,
        threshold=_thresholds(value, plan),
        top_vector=vector,
        random_vector=_random(left, right, plan),
        pivot=pivot,
        # No block is under way in either state, which `_check_alike` has seen to.
        sums=torch.zeros_like(left.sums),
        limbs=torch.from_numpy(exact.limbs),  # pyright: ignore[reportUnknownMemberType]
        limb_top=torch.from_numpy(exact.top),  # pyright: ignore[reportUnknownMemberType]
        extremes=torch.stack(
            [
                torch.minimum(left.extremes[0], right.extremes[0]),
                torch.maximum(left.extremes[1], right.extremes[1]),
            ]
        ),
        positive=left.positive + right.positive,
        histogram=left.histogram + right.histogram,
        peak_histogram=left.peak_histogram + right.peak_histogram,
        ranges=ranges,
    )


def _moved(state: LayerState, pivot: Float[Tensor, " neuron"]) -> ExactSum:
    """Return a state's sums about another pivot; neurons that have it already keep every bit.

    Machines that compute the first sequence differently in the last bits may disagree on a few pivots.
    """
    exact = ExactSum(state.limbs.numpy().copy(), state.limb_top.numpy().copy())
    count = state.sequences * state.top_vector.shape[-1]
    for neuron in map(int, (state.pivot != pivot).nonzero()[:, 0]):
        # By the binomial theorem, with x - new = (x - old) + shift:
        # Σ(x - new)^p = Σ_k C(p, k) Σ(x - old)^k shift^(p - k), where Σ(x - old)^0 counts the activations.
        # In fractions, since the terms nearly cancel where the pivot is large beside the spread.
        shift = Fraction(float(state.pivot[neuron])) - Fraction(float(pivot[neuron]))
        sums = [Fraction(count), *(exact.fraction(power, neuron) for power in range(4))]
        for power in range(1, 5):
            terms = (comb(power, k) * sums[k] * shift ** (power - k) for k in range(power + 1))
            exact.put(power - 1, neuron, sum(terms, Fraction(0)))
    return exact


def _check_alike(left: LayerState, right: LayerState) -> None:
    for item in fields(left):
        ours, theirs = getattr(left, item.name), getattr(right, item.name)
        if isinstance(ours, Tensor) and (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise CaptureError(
                f"states cannot be merged: {item.name} is {tuple(ours.shape)} {ours.dtype} in one and"
                f" {tuple(theirs.shape)} {theirs.dtype} in the other; they are of different layers or plans"
            )
    if bool(left.sums.any()) or bool(right.sums.any()):
        raise CaptureError("states cannot be merged before the block under way has ended; finish the shards")


def _best(
    left: LayerState, right: LayerState, plan: CapturePlan
) -> tuple[
    Float[Tensor, "polarity neuron slot"],
    Int[Tensor, "polarity neuron slot"],
    Float[Tensor, "polarity neuron slot token"],
]:
    """Return the slots of both states' best sequences, pool by pool."""
    # What is among the k best of all is among the k best of its part, and ties go by sequence id alone.
    value, ids = torch.empty_like(left.top_value), torch.empty_like(left.top_sequence)
    vector = torch.empty_like(left.top_vector)
    for side in range(len(plan.polarities)):
        for first, stop in pairwise(plan.bounds):
            slots = (side, slice(None), slice(first, stop))
            values = torch.cat([left.top_value[slots], right.top_value[slots]], 1)
            sequences = torch.cat([left.top_sequence[slots], right.top_sequence[slots]], 1)
            vectors = torch.cat([left.top_vector[slots], right.top_vector[slots]], 1)
            order = by_peak(values, sequences)[:, : stop - first]
            value[slots], ids[slots] = values.gather(1, order), sequences.gather(1, order)
            vector[slots] = vectors.gather(1, order[:, :, None].expand(-1, -1, vectors.shape[2]))
    return value, ids, vector


def _thresholds(
    value: Float[Tensor, "polarity neuron slot"], plan: CapturePlan
) -> Float[Tensor, "polarity pool neuron"]:
    return torch.stack([value[:, :, first:stop].amin(2) for first, stop in pairwise(plan.bounds)], 1)


def _random(left: LayerState, right: LayerState, plan: CapturePlan) -> Float[Tensor, "random token neuron"]:
    """Return the shared random sequences, each from the state that has taken it."""
    vectors = left.random_vector.clone()
    theirs = [
        slot
        for slot, sequence in enumerate(plan.random_ids)
        if any(first <= sequence < stop for first, stop in right.ranges)
    ]
    vectors[theirs] = right.random_vector[theirs]
    return vectors

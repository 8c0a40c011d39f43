"""What is kept of a layer while the corpus goes by: exact top-k with vectors, moments, histograms, lookups.

The state's size does not depend on the number of sequences. Sequences are taken in ascending order, so that
sums have the same bits whatever the batch size; ties in the top-k go to the smaller sequence id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

LOWEST_EXPONENT = -20
HIGHEST_EXPONENT = 15
HALF_OCTAVES = 2 * (HIGHEST_EXPONENT - LOWEST_EXPONENT)
"""Histogram bins on each side of zero: [2^e, 1.5 x 2^e) and [1.5 x 2^e, 2^(e+1))."""
BINS = 2 * HALF_OCTAVES + 1
EMPTY = np.iinfo(np.int64).max
"""Sequence id of a top-k slot that holds nothing yet."""


def histogram_edges() -> list[float]:
    """Return the BINS + 1 edges, ascending; the two outermost bins are open-ended."""
    positive = [
        2.0**exponent * mantissa
        for exponent in range(LOWEST_EXPONENT, HIGHEST_EXPONENT)
        for mantissa in (1.0, 1.5)
    ] + [2.0**HIGHEST_EXPONENT]
    return [-edge for edge in reversed(positive)] + positive


@dataclass(frozen=True)
class CapturePlan:
    """What to keep; equal plans over equal activations keep equal things."""

    top_k: int
    polarities: tuple[int, ...]
    random_ids: tuple[int, ...]
    """Sequences drawn up front that serve every neuron, ascending."""
    lookup_neurons: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    """Per layer, the neurons that get a token-lookup table."""


@dataclass
class LayerState:
    """The running state of one layer; all tensors share the layer's neuron axis."""

    top_value: Float[Tensor, "polarity neuron k"]
    """polarity x peak, unsorted; -inf where a slot is empty."""
    top_sequence: Int[Tensor, "polarity neuron k"]
    top_vector: Float[Tensor, "polarity neuron k token"]
    random_vector: Float[Tensor, "random token neuron"]
    pivot: Float[Tensor, " neuron"]
    """The first activation seen; sums about it keep a constant neuron's variance at exactly 0."""
    sums: Float[Tensor, "power neuron"]
    """Sums of (activation - pivot) to the powers 1..4, fp64."""
    extremes: Float[Tensor, "two neuron"]
    """Smallest and largest activation."""
    positive: Int[Tensor, " neuron"]
    histogram: Int[Tensor, "neuron bin"]
    peak_histogram: Int[Tensor, "polarity neuron bin"]
    """Histogram of polarity x peak over sequences."""
    lookup_sum: Float[Tensor, "distinct_token lookup_column"]
    """Sum of explained-side activations per distinct corpus token over all but the random sequences, fp64;
    one column per neuron for the first polarity, then for the second; always on the CPU."""
    sequences: int = 0
    """Sequences taken so far."""

    def tensors(self, vector_dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the state for storage; vectors in the subject's dtype, which holds them exactly."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "sequences"}
        for name in ("top_vector", "random_vector"):
            named[name] = named[name].to(vector_dtype)
        return {name: tensor.contiguous().cpu() for name, tensor in named.items()}

    def on(self, device: torch.device) -> "LayerState":
        """Return the state on a device, but for the lookup sums, which stay on the CPU."""
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if item.name not in ("sequences", "lookup_sum")
        }
        return replace(self, **moved)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], sequences: int) -> "LayerState":
        """Return a state as it was stored by `tensors`."""
        own = {name: tensor.clone() for name, tensor in tensors.items()}
        for name in ("top_vector", "random_vector"):
            own[name] = own[name].float()
        return cls(**own, sequences=sequences)


def empty_state(plan: CapturePlan, *, layer: int, neurons: int, tokens: int, vocabulary: int) -> LayerState:
    """Return the state before any sequence, on the CPU.

    `neurons` wide, for sequences of `tokens` and a corpus of `vocabulary` distinct tokens.
    """
    sides, k = len(plan.polarities), plan.top_k

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype)

    return LayerState(
        top_value=zeros(sides, neurons, k).fill_(-torch.inf),
        top_sequence=zeros(sides, neurons, k, dtype=torch.int64).fill_(EMPTY),
        top_vector=zeros(sides, neurons, k, tokens),
        random_vector=zeros(len(plan.random_ids), tokens, neurons),
        pivot=zeros(neurons),
        sums=zeros(4, neurons, dtype=torch.float64),
        extremes=torch.stack([zeros(neurons).fill_(torch.inf), zeros(neurons).fill_(-torch.inf)]),
        positive=zeros(neurons, dtype=torch.int64),
        histogram=zeros(neurons, BINS, dtype=torch.int64),
        peak_histogram=zeros(sides, neurons, BINS, dtype=torch.int64),
        lookup_sum=zeros(vocabulary, sides * len(plan.lookup_neurons.get(layer, ())), dtype=torch.float64),
    )

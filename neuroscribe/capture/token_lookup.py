"""The direct token-lookup table: a neuron's mean activation per token, held out from its exemplars.

Source: Bills et al. 2023, token lookup table baseline. The sums are taken in the capture pass over all but
the shared random sequences; here each neuron's own top sequences are taken out of them again, so that no
sequence by which the neuron may be scored has a part in its table.
"""

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.state import EMPTY, LOOKUP_UNIT, CapturePlan, LayerState
from neuroscribe.errors import CaptureError
from neuroscribe.evidence.exemplars import explained_side
from neuroscribe.tables.records import TOKEN_LOOKUP
from neuroscribe.text.corpus import distinct_tokens


def token_lookup(
    state: LayerState, layer: int, plan: CapturePlan, tokens: Int[Tensor, "sequence token"]
) -> pl.DataFrame:
    """Return one row per candidate neuron, polarity and token that occurs in its held-out sequences."""
    distinct, place = distinct_tokens(tokens)
    places = place[tokens]
    held_out = torch.ones(len(tokens), dtype=torch.bool)
    held_out[list(plan.random_ids)] = False
    shared = torch.bincount(places[held_out].flatten(), minlength=len(distinct))
    neurons = plan.lookup_neurons[layer]
    _check_range(state, layer, neurons, torch.bincount(places.flatten(), minlength=len(distinct)))
    parts = [
        _rows(
            state, layer, plan, (neuron, side), side * len(neurons) + place, distinct.numpy(), places, shared
        )
        for place, neuron in enumerate(neurons)
        for side in range(len(plan.polarities))
    ]
    table = pl.concat([TOKEN_LOOKUP.frame([]), *parts])
    return TOKEN_LOOKUP.checked(table.sort("neuron", "polarity", "token_id", descending=[False, True, False]))


def _rows(
    state: LayerState,
    layer: int,
    plan: CapturePlan,
    neuron_side: tuple[int, int],
    column: int,
    distinct: Int[np.ndarray, " distinct_token"],
    places: Int[Tensor, "sequence token"],
    shared: Int[Tensor, " distinct_token"],
) -> pl.DataFrame:
    """Return one neuron's table for one polarity, its own top sequences taken out."""
    neuron, side = neuron_side
    polarity = plan.polarities[side]
    total, count = state.lookup_sum[:, column].clone(), shared.clone()
    for sequence, vector in sorted(_own_top(state, neuron, plan).items()):
        activations = explained_side(vector.double(), polarity, plan.polarities)
        total.index_add_(0, places[sequence], -(activations / LOOKUP_UNIT).round().long())
        count.index_add_(0, places[sequence], -torch.ones_like(places[sequence]))
    seen = (count > 0).numpy()
    counts, means = count.numpy()[seen], total.numpy()[seen] * LOOKUP_UNIT / count.numpy()[seen]
    overall = np.average(means, weights=counts) if len(counts) else 0.0
    return TOKEN_LOOKUP.frame(
        {
            "layer": np.full(seen.sum(), layer, dtype=np.int16),
            "neuron": np.full(seen.sum(), neuron, dtype=np.int32),
            "polarity": np.full(seen.sum(), polarity, dtype=np.int8),
            "token_id": distinct[seen].astype(np.int32),
            "count": counts,
            "mean": means.astype(np.float32),
            "shrunken_mean": ((counts * means + overall) / (counts + 1)).astype(np.float32),
        }
    )


def _own_top(state: LayerState, neuron: int, plan: CapturePlan) -> dict[int, Float[Tensor, " token"]]:
    """Return the vectors of a neuron's top sequences on either side, but for the shared random ones."""
    ids: list[list[int]] = state.top_sequence[:, neuron, : plan.top_k].numpy().tolist()
    return {
        sequence: state.top_vector[side, neuron, slot]
        for side, sequences in enumerate(ids)
        for slot, sequence in enumerate(sequences)
        if sequence != EMPTY and sequence not in plan.random_ids
    }


def _check_range(
    state: LayerState, layer: int, neurons: tuple[int, ...], counts: Int[Tensor, " distinct_token"]
) -> None:
    """Check that no sum can have left the range of its integer."""
    largest = state.extremes[:, list(neurons)].abs().amax(0).double() * counts.max()
    if bool((worst := largest.max()) >= 2**62 * LOOKUP_UNIT):
        neuron = neurons[int(largest.argmax())]
        raise CaptureError(
            f"layer {layer}, neuron {neuron}: activations up to"
            f" {float(state.extremes[:, neuron].abs().max()):.3g} over {int(counts.max())} occurrences of a"
            f" token may sum to {float(worst):.3g}, more than a token-lookup table can hold; sample other"
            " neurons (sample.seed) or fewer sequences"
        )

"""What a list of tokens explains of neurons, less what the lists of other neurons do: trained, and untrained.

Lists are learned from three quarters of the documents and scored on all sequences of the rest, taken
literally, so that nothing but the neurons differs between a subject and its random-weights twin.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.validity_trials import agreement
from benchmarks.whole_corpus import Text, TrueNeuron, true_neurons
from neuroscribe.measures.controls import CONTROLS

LISTED, OCCURRENCES, PRIOR = 10, 3, 3.0
"""Tokens of a list, how often each has been seen, and as how many readings at the mean it starts."""
HELD_OUT = 0.25


def gaps(
    layers: Mapping[int, Float[Tensor, "sequence token neuron"]], text: Text, *, neurons: int, seed: int
) -> list[float]:
    """Return each neuron's score less the mean score of ten other neurons' lists of its layer."""
    chosen = true_neurons(layers, each=neurons, seed=seed)["ordinary"]
    documents = text.sequences["document_id"].to_numpy()
    generator = np.random.default_rng(seed)
    held_out = np.isin(documents, np.flatnonzero(generator.random(documents.max() + 1) < HELD_OUT))
    lists = [_listed(neuron, text, ~held_out)[held_out] for neuron in chosen]
    return [
        _score(neuron.values[held_out], lists[place])
        - float(np.mean([_score(neuron.values[held_out], lists[other]) for other in foreign]))
        for place, neuron in enumerate(chosen)
        if (foreign := _foreign(place, chosen, generator))
    ]


def _foreign(place: int, neurons: Sequence[TrueNeuron], generator: np.random.Generator) -> list[int]:
    """Return up to ten other neurons of the same layer."""
    layer = neurons[place].layer
    others = [other for other, each in enumerate(neurons) if each.layer == layer and other != place]
    return generator.permutation(others)[:CONTROLS].tolist()


def _score(truth: Float[np.ndarray, "sequence token"], listed: Bool[np.ndarray, "sequence token"]) -> float:
    """Return the correlation, 0 for a list of which no token occurs."""
    return agreement(truth, listed.astype(np.float64)) if listed.any() and not listed.all() else 0.0


def _listed(
    neuron: TrueNeuron, text: Text, learned: Bool[np.ndarray, " sequence"]
) -> Bool[np.ndarray, "sequence token"]:
    """Return where the tokens stand whose shrunken means are largest."""
    tokens, values = text.tokens[learned], neuron.values[learned]
    count = np.bincount(tokens.ravel())
    total = np.bincount(tokens.ravel(), values.ravel())
    means = (total + PRIOR * values.mean()) / (count + PRIOR)
    means[count < OCCURRENCES] = 0.0
    return np.isin(text.tokens, np.argsort(-means, kind="stable")[:LISTED])

"""Labels of known worth for true neurons, and what a simulator would make of them: no text, no LLM.

A label is what a perfect reader of some explanation would say at every token, 0 to 10. Seven kinds: two right
ones, three too broad, two too narrow. A simulator reads it with an offset and a noise of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.whole_corpus import TrueNeuron

Tokens = Int[np.ndarray, "sequence token"]
Where = Bool[np.ndarray, "sequence token"]
Label = Float[np.ndarray, "sequence token"]

BROAD = 5
"""How many times the tokens that the neuron fires on a too broad label covers; a too narrow one, a fifth."""


@dataclass(frozen=True)
class Given:
    """What a label is made from."""

    neuron: TrueNeuron
    tokens: Tokens
    generator: np.random.Generator


def exact(given: Given) -> Label:
    """Return 10 where the neuron fires."""
    return 10.0 * fires(given.neuron)


def graded(given: Given) -> Label:
    """Return the activation itself on the 0..10 scale."""
    return 10 * given.neuron.values / given.neuron.values.max()


def broad_by_types(given: Given) -> Label:
    """Return 10 where the neuron fires and at every occurrence of random token types, five times as many."""
    firing = fires(given.neuron)
    types, counts = np.unique(given.tokens[~firing], return_counts=True)
    order = given.generator.permutation(len(types))
    enough = np.searchsorted(counts[order].cumsum(), (BROAD - 1) * firing.sum()) + 1
    return 10.0 * (firing | np.isin(given.tokens, types[order[:enough]]))


def broad_by_level(given: Given) -> Label:
    """Return 10 at the strongest activations, five times as many as where the neuron fires."""
    return 10.0 * _strongest(given.neuron.values, BROAD * int(fires(given.neuron).sum()))


def broad_by_words(given: Given) -> Label:
    """Return 10 at every occurrence of the token types that the neuron fires on."""
    return 10.0 * np.isin(given.tokens, given.tokens[fires(given.neuron)])


def narrow_by_level(given: Given) -> Label:
    """Return 10 at the strongest fifth of where the neuron fires."""
    return 10.0 * _strongest(given.neuron.values, max(1, int(fires(given.neuron).sum()) // BROAD))


def narrow_by_types(given: Given) -> Label:
    """Return 10 at a fifth of where the neuron fires: all its firings on some token types."""
    firing = fires(given.neuron)
    types, counts = np.unique(given.tokens[firing], return_counts=True)
    order = given.generator.permutation(len(types))
    enough = np.searchsorted(counts[order].cumsum(), firing.sum() / BROAD) + 1
    return 10.0 * (firing & np.isin(given.tokens, types[order[:enough]]))


LABELS: dict[str, Callable[[Given], Label]] = {
    "exact": exact,
    "graded": graded,
    "broad, other words": broad_by_types,
    "broad, lower level": broad_by_level,
    "broad, same words": broad_by_words,
    "narrow, highest level": narrow_by_level,
    "narrow, some words": narrow_by_types,
}


def simulated(label: Label, tokens: Tokens, generator: np.random.Generator) -> Label:
    """Return a simulator's reading of a label: a fifth too weak, and off by an amount of each token type."""
    noise = np.abs(generator.normal(0, 0.5, tokens.max() + 1))
    return (0.8 * label + noise[tokens]).clip(0, 10)


def fires(neuron: TrueNeuron) -> Where:
    """Return where the neuron fires."""
    return neuron.values >= neuron.threshold


def _strongest(values: Float[np.ndarray, "sequence token"], count: int) -> Where:
    """Return where so many of the largest values are, without those that are 0."""
    least = np.sort(values, axis=None)[-count]
    return values >= max(float(least), np.finfo(np.float64).tiny)

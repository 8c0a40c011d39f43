"""How often an explanation that has nothing to do with a neuron is called clearly better than ten others."""

from collections.abc import Sequence

import numpy as np

from benchmarks.labels import Given, Label, broad_by_words, exact, simulated
from benchmarks.validity_trials import PER_KIND, Population
from benchmarks.whole_corpus import TOP_K, Text, TrueNeuron
from neuroscribe.capture.neuron_records import TOP_SPLITS
from neuroscribe.evidence.layer import CONTROL_TOPS
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.controls import CONTROLS, chance, discoveries
from neuroscribe.measures.draws import Draws

ROUNDS = 30
"""Studies that are made: each gives every neuron another explanation, and draws anew."""
FIRST_TESTED = TOP_SPLITS.index("test") - 1
"""Rank of the first top exemplar of `test` in a population, which lacks the first of `train`."""


def better(neurons: Sequence[TrueNeuron], text: Text, *, related: bool, seed: int) -> list[bool]:
    """Return for each explanation of each round whether a study would call it clearly better.

    Explanations and controls are those of other neurons of the layer (`related`: the explanation is the
    neuron's own), taken as labels that are right for whom they were made, or as lists of their tokens.
    """
    documents = text.sequences["document_id"].to_numpy()
    populations = [Population.of(neuron, documents) for neuron in neurons]
    generator = np.random.default_rng(seed)
    called: list[bool] = []
    for kind in (exact, broad_by_words):
        read = [
            simulated(kind(Given(each, text.tokens, generator)), text.tokens, generator) for each in neurons
        ]
        for _ in range(ROUNDS):
            chances: list[float] = []
            for place, population in enumerate(populations):
                held = _foreign(neurons, place, generator)
                held = [place, *held[1:]] if related else held
                scores = _scores(population, [read[other] for other in held], generator)
                chances.append(chance(scores[0], scores[1:]) or 1.0)
            # A study's neurons are counted together, as in its report.
            called += discoveries(chances)
    return called


def _foreign(neurons: Sequence[TrueNeuron], place: int, generator: np.random.Generator) -> list[int]:
    """Return eleven other neurons of the layer: of an explanation, and of its controls."""
    own = neurons[place]
    others = [i for i, each in enumerate(neurons) if each.layer == own.layer and each.neuron != own.neuron]
    return generator.permutation(others)[: CONTROLS + 1].tolist()


def _scores(
    population: Population, labels: Sequence[Label], generator: np.random.Generator
) -> list[float | None]:
    """Return what labels score where a study holds controls against a neuron.

    That is on its first top exemplar of `test` and on random sequences, all weighted alike.
    """
    ranked = np.argsort(-population.peaks, kind="stable")
    tops = ranked[FIRST_TESTED : FIRST_TESTED + CONTROL_TOPS]
    chosen = np.concatenate([tops, generator.permutation(ranked[TOP_K:])[:PER_KIND]])
    held = np.stack([label[population.places[chosen]] for label in labels])
    truth = np.broadcast_to(population.truth[chosen], held.shape)
    kinds = np.tile([0] * len(tops) + [1] * PER_KIND, (len(held), 1))
    return [estimate.value for estimate in correlations(truth, held, Draws.alike(kinds))]

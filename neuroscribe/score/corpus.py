"""Scores over the whole corpus: estimates from weighted draws, or the values themselves where all was read.

A simulator that is asked reads the draws of each explanation, whose strata have known sizes. One that costs
nothing reads every sequence of the population; what is uncertain then is how other text would score.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from neuroscribe.evidence.drawn import STRATA
from neuroscribe.evidence.exemplars import Exemplars, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.population import Population
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.measures.draws import Draws
from neuroscribe.score.compared import (
    Beside,
    Compared,
    Scored,
    Values,
    in_simulated_units,
    scored,
    unscored,
    why_not,
)
from neuroscribe.simulate.questions import texts_for
from neuroscribe.study.scoring import AGREEMENTS

Whole = Callable[..., Values]
"""What a simulator that costs nothing reads on all kept sequences under an explanation's texts, 0 to 10."""


class CorpusScores:
    """Scores the explanations of one layer over the corpus; `whole` are the simulators that cost nothing."""

    def __init__(self, evidence: LayerEvidence, whole: Mapping[str, Whole]) -> None:
        self._evidence, self._whole = evidence, whole
        self._controls: dict[str, dict[Neuron, list[Mapping[str, Any]]]] = {}

    def of(self, explanation: Mapping[str, Any], simulator: str, split: str) -> dict[str, Scored]:
        """Return an explanation's scores by measure; of one from another draw the correlation alone."""
        measures = AGREEMENTS[:1] if explanation["draw"] else AGREEMENTS
        population = self._evidence.population(explanation, split)
        reason = why_not(explanation, len(population.sequence_ids))
        compared = None if reason else self._compared(explanation, simulator, split, population)
        if compared is None:
            return dict.fromkeys(measures, unscored(reason or "not simulated"))
        beside = Beside()
        if split == "test" and not explanation["draw"]:
            beside = self._beside(explanation, simulator, population)
        return {measure: scored(measure, compared, beside) for measure in measures}

    def _compared(
        self, explanation: Mapping[str, Any], simulator: str, split: str, population: Population
    ) -> Compared | None:
        """Return the truth beside what a simulator reads: all of a population, or what was drawn of it."""
        neuron = (explanation["neuron"], explanation["polarity"])
        if simulator in self._whole:
            return self._all_read(explanation, simulator, population, neuron)
        place = (explanation["explanation_id"], simulator, neuron)
        strata = self._evidence.simulations.strata(place, split)
        values = self._evidence.simulations.values(place, tuple(strata))
        if not strata or values is None:
            return None
        labels = np.array([STRATA.index(name) for name, _ in strata.values()])
        sizes = np.array([size for _, size in strata.values()], dtype=np.float64)
        truth = population.truth[population.places(tuple(strata))]
        readable: Bool[np.ndarray, " sequence"] = np.array(np.isfinite(values).all(axis=1))
        keep = _kept(readable, labels)
        draws, unreadable = Draws(labels[keep][None], sizes[keep][None]), int((~readable).sum())
        return Compared(truth[keep], values[keep], draws, self._evidence.firing(neuron), unreadable)

    def _all_read(
        self, explanation: Mapping[str, Any], simulator: str, population: Population, neuron: Neuron
    ) -> Compared:
        """Return the truth beside what is read under an explanation, of the neuron or a control."""
        texts = texts_for(self._evidence.study, simulator, explanation)
        kept = self._evidence.truth(neuron).sequence_ids
        readings = self._whole[simulator](*texts)[np.isin(kept, population.sequence_ids)]
        documents = self._evidence.documents(population.sequence_ids)
        draws = Draws.all_of(1, len(readings), documents)
        return Compared(population.truth, readings, draws, self._evidence.firing(neuron))

    def _beside(self, explanation: Mapping[str, Any], simulator: str, population: Population) -> Beside:
        neuron = (explanation["neuron"], explanation["polarity"])
        firing = self._evidence.firing(neuron)
        predicted = in_simulated_units(population.ceiling, firing)
        ceiling = Compared(population.truth, predicted, Draws.all_of(1, len(predicted)), firing)
        if simulator not in self._whole:
            shown = self._evidence.control_exemplars(explanation)
            draws = self._evidence.beside(explanation, shown)
            return held(self._evidence, explanation, simulator, shown, draws, ceiling=ceiling)
        others = self._drawn_controls(explanation["explainer"]).get(neuron, [])
        controls = [self._control(other, simulator, population, neuron) for other in others]
        return Beside(controls, ceiling=ceiling)

    def _control(
        self, control: Mapping[str, Any], simulator: str, population: Population, neuron: Neuron
    ) -> Compared:
        """Return a control on what its explainer has not seen of a population."""
        unseen = population.of(~self._evidence.seen(control, population.sequence_ids))
        return self._all_read(control, simulator, unseen, neuron)

    def _drawn_controls(self, explainer: str) -> dict[Neuron, list[Mapping[str, Any]]]:
        if explainer not in self._controls:
            self._controls[explainer] = self._evidence.controls(explainer, count=CONTROLS)
        return self._controls[explainer]


def _kept(
    readable: Bool[np.ndarray, " sequence"], labels: Int[np.ndarray, " sequence"]
) -> Bool[np.ndarray, " sequence"]:
    """Return which draws are scored: what can be read, the others of its stratum standing for the rest.

    All, and so no score, where that is less than half, or a stratum would have none that stands for it.
    """
    enough = 2 * readable.sum() >= len(readable) and set(labels[readable]) == set(labels)
    return readable if enough else np.ones(len(readable), dtype=bool)


def held(
    evidence: LayerEvidence,
    explanation: Mapping[str, Any],
    simulator: str,
    shown: Exemplars,
    draws: Draws,
    *,
    ceiling: Compared | None,
) -> Beside:
    """Return an explanation and its controls as they were simulated on some exemplars."""
    simulations, neuron = evidence.simulations, (explanation["neuron"], explanation["polarity"])
    firing = evidence.firing(neuron)
    own = simulations.values((explanation["explanation_id"], simulator, neuron), shown.sequence_ids)
    if own is None or not shown.sequence_ids:
        return Beside(ceiling=ceiling)
    places = simulations.controls(explanation["explainer"], simulator, neuron)
    read = [simulations.values(place, shown.sequence_ids) for place in places]
    controls = [Compared(shown.truth, values, draws, firing) for values in read if values is not None]
    return Beside(controls, Compared(shown.truth, own, draws, firing), ceiling, shown.draws)

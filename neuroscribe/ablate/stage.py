"""Ablates every simulated neuron of a layer on the sequences by which it is scored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.ablate.divergence import Replacement, divergences
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.simulations import Place, fitted
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Form, Once
from neuroscribe.measures.calibration import Calibrated
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.subject.predictions import place_of, weights_of
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site
from neuroscribe.tables.judged import ABLATIONS

_RESULTS = 1
"""Raise when the same ablation gives other divergences than before."""
_DIVERGENCES: Form[list[float]] = Form(
    lambda divergences: {"divergences": divergences}, lambda stored: list(stored["divergences"])
)


@dataclass(frozen=True)
class _Asked:
    """A row of ABLATIONS without its divergences, and the places of the two replacements they belong to."""

    row: dict[str, Any]
    simulated: int
    mean: int


@dataclass
class _Sequence:
    """What is to be tried on one sequence, each replacement once, and for which rows."""

    rows: dict[Replacement, int] = field(default_factory=dict[Replacement, int])
    asked: list[_Asked] = field(default_factory=list[_Asked])

    def ask(self, place: Place, sequence: int, values: Sequence[float], mean: float) -> None:
        """Ask for a neuron replaced by these values, and by its mean."""
        explanation_id, simulator, (neuron, polarity) = place
        row = {"explanation_id": explanation_id, "neuron": neuron, "polarity": polarity}
        row |= {"sequence_id": sequence, "split": "test", "simulator": simulator}
        simulated, constant = (
            self.rows.setdefault(Replacement(neuron, polarity, tuple(own)), len(self.rows))
            for own in (values, [mean] * len(values))
        )
        self.asked.append(_Asked(row, simulated, constant))


async def ablated_layer(
    evidence: LayerEvidence, *, subject: Subject, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the ABLATIONS of one layer: every simulation on `test`, of the controls as well.

    Simulated values become activations by the line that `valid` gives (Bills et al. 2023 fit it to the scored
    sequences themselves); a control's by the line of the explanation it stands beside. Each sequence's
    results are stored, so that a run that was killed loses one sequence.
    """
    study, layer = evidence.study, evidence.layer
    runner = _Runner(evidence, subject, subject.sites([layer])[layer], Once(calls))
    plan = _Plan(evidence).sequences
    rows: list[dict[str, Any]] = []
    with progress.task(f"ablate {study.name} layer {layer}", total=len(plan), unit="sequences") as advance:
        for sequence, wanted in sorted(plan.items()):
            measured = await runner.divergences(sequence, list(wanted.rows))
            for asked in wanted.asked:
                rows.append(
                    {
                        **asked.row,
                        "simulated_divergence": measured[asked.simulated],
                        "mean_divergence": measured[asked.mean],
                    }
                )
            advance(1)
    return ABLATIONS.frame(rows).sort(*ABLATIONS.key)


@dataclass(frozen=True)
class _Runner:
    """Runs the subject with neurons of one layer replaced, each sequence once."""

    evidence: LayerEvidence
    subject: Subject
    site: Site
    once: Once

    async def divergences(self, sequence: int, rows: Sequence[Replacement]) -> list[float]:
        """Return what each replacement changes on a sequence."""
        study, subject = self.evidence.study, self.subject
        tokens, both = self.evidence.tokens.ids[sequence], len(study.polarities) > 1
        replaced = [[row.neuron, row.polarity, list(row.values)] for row in rows]
        place = place_of(self.site, study.subject)
        key = fingerprint("ablation", _RESULTS, weights_of(subject), place, tokens, replaced, both)

        async def run() -> list[float]:
            return divergences(subject, self.site, tokens, rows, keeps_other_side=both)

        return await self.once.answer(key, run, _DIVERGENCES)


class _Plan:
    """What is to be tried on each sequence; the clean run is shared by all that is tried on one."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self.sequences: dict[int, _Sequence] = {}
        self._evidence, self._simulations = evidence, evidence.simulations
        self._means: dict[Neuron, float] = {}
        self._planned: set[Place] = set()
        study = evidence.study
        wanted = sorted({name for spec in study.ablating.values() for name in spec.simulators})
        usable = evidence.tables["explanations"].filter(pl.col("status") == "ok", pl.col("draw") == 0)
        for explanation in usable.sort("neuron", "polarity", "sample_index").iter_rows(named=True):
            for simulator in wanted:
                if explanation["explainer"] in study.simulators[simulator].explainers:
                    self._add(explanation, simulator)

    def _add(self, explanation: dict[str, Any], simulator: str) -> None:
        neuron = (explanation["neuron"], explanation["polarity"])
        place = (explanation["explanation_id"], simulator, neuron)
        valid = self._evidence.paper_exemplars(explanation, "valid")
        calibrated = fitted("linear", valid, self._simulations, place)
        controls = self._simulations.controls(explanation["explainer"], simulator, neuron)
        tested = self._evidence.paper_exemplars(explanation, "test").sequence_ids
        for each in (place, *controls[:1]):
            if each not in self._planned and calibrated is not None:
                self._planned.add(each)
                self._add_place(each, tested, calibrated)

    def _add_place(self, place: Place, tested: Sequence[int], calibrated: Calibrated) -> None:
        neuron = place[2]
        done = self._simulations.sequences(place)
        sequence_ids = [sequence for sequence in tested if sequence in done]
        values = self._simulations.values(place, sequence_ids)
        for sequence, simulated in zip(sequence_ids, () if values is None else values, strict=True):
            if np.isfinite(simulated).all():
                wanted = self.sequences.setdefault(sequence, _Sequence())
                wanted.ask(place, sequence, calibrated(simulated).tolist(), self._mean(neuron))

    def _mean(self, neuron: Neuron) -> float:
        if neuron not in self._means:
            self._means[neuron] = mean_activation(self._evidence, neuron)
        return self._means[neuron]


def mean_activation(evidence: LayerEvidence, neuron: Neuron) -> float:
    """Return a neuron's mean activation on the side that is explained.

    A plain neuron's is taken over all tokens. Where both signs are explained apart, statistics know no mean
    of one side; it is that over the sequences on which all activations of the neuron were kept.
    """
    if len(evidence.study.polarities) > 1:
        return float(evidence.truth(neuron).values.mean())
    statistics = evidence.tables["activations/statistics"]
    return statistics.row(by_predicate=pl.col("neuron") == neuron[0], named=True)["mean"]

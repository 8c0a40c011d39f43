"""Ablates every simulated neuron of a layer on the sequences by which it is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.ablate.divergence import Replacement, divergences, place_of
from neuroscribe.evidence.exemplars import Exemplars, Neuron, by_neuron, scored_exemplars
from neuroscribe.evidence.simulations import Place, Simulations, fitted
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import answered_once
from neuroscribe.measures.calibration import Calibrated
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site
from neuroscribe.tables.records import ABLATIONS
from neuroscribe.text.corpus import token_rows

_RESULTS = 1
"""Raise when the same ablation gives other divergences than before."""


@dataclass(frozen=True)
class AblatedTables:
    """One layer's tables, as an ablation reads them."""

    sequences: pl.DataFrame
    statistics: pl.DataFrame
    records: pl.DataFrame
    lookup: pl.DataFrame
    explanations: pl.DataFrame
    simulations: pl.DataFrame


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
    study: Study,
    layer: int,
    tables: AblatedTables,
    *,
    subject: Subject,
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the ABLATIONS of one layer: every simulation on `test`, of the controls as well.

    Simulated values become activations by the line that `valid` gives (Bills et al. 2023 fit it to the scored
    sequences themselves); a control's by the line of the explanation it stands beside. Each sequence's
    results are stored, so that a run that was killed loses one sequence.
    """
    site = subject.sites([layer])[layer]
    plan = _Plan(study, tables).sequences
    tokens = token_rows(tables.sequences)
    rows: list[dict[str, Any]] = []
    with progress.task(f"ablate {study.name} layer {layer}", total=len(plan), unit="sequences") as advance:
        for sequence, own in sorted(plan.items()):
            found = await _measured(study, subject, site, tokens[sequence], list(own.rows), calls)
            for one in own.asked:
                pair = {"simulated_divergence": found[one.simulated], "mean_divergence": found[one.mean]}
                rows.append(one.row | pair)
            advance(1)
    return ABLATIONS.frame(rows).sort(*ABLATIONS.key)


async def _measured(
    study: Study,
    subject: Subject,
    site: Site,
    tokens: Sequence[int],
    rows: Sequence[Replacement],
    calls: CallStore,
) -> list[float]:
    both = len(study.polarities) > 1
    model = [
        subject.name,
        subject.revision,
        str(subject.dtype),
        subject.device.type,
        list(subject.prefix_ids),
    ]
    asked = [[own.neuron, own.polarity, list(own.values)] for own in rows]
    key = fingerprint("ablation", _RESULTS, model, place_of(site, study.subject), list(tokens), asked, both)

    async def call() -> Mapping[str, Any]:
        return {"divergences": divergences(subject, site, tokens, rows, keeps_other_side=both)}

    return await answered_once(key, calls, call, read=lambda answer: list(answer["divergences"]))


class _Plan:
    """What is to be tried on each sequence; the clean run is shared by all that is tried on one."""

    def __init__(self, study: Study, tables: AblatedTables) -> None:
        self.sequences: dict[int, _Sequence] = {}
        self._study = study
        self._simulations = Simulations(tables.simulations, tables.explanations)
        self._records, self._means = by_neuron(tables.records), _means(study, tables)
        self._planned: set[Place] = set()
        usable = tables.explanations.filter(pl.col("status") == "ok")
        wanted = {name for spec in study.ablating.values() for name in spec.simulators}
        for explanation in usable.sort("neuron", "polarity", "sample_index").iter_rows(named=True):
            for simulator in sorted(wanted):
                if explanation["explainer"] in study.simulators[simulator].explainers:
                    self._add(explanation, simulator)

    def _add(self, explanation: dict[str, Any], simulator: str) -> None:
        neuron = (explanation["neuron"], explanation["polarity"])
        own = (explanation["explanation_id"], simulator, neuron)
        calibrated = fitted("linear", self._exemplars(neuron, "valid"), self._simulations, *own)
        control = self._simulations.control(explanation["explainer"], simulator, neuron)
        for place in (own, control):
            if place is not None and place not in self._planned and calibrated is not None:
                self._planned.add(place)
                self._add_place(place, calibrated)

    def _add_place(self, place: Place, calibrated: Calibrated) -> None:
        neuron = place[2]
        done = self._exemplars(neuron, "test").only(self._simulations.sequences(*place)).sequence_ids
        values = self._simulations.values(*place, done)
        for sequence, simulated in zip(done, () if values is None else values, strict=True):
            if np.isfinite(simulated).all():
                own = self.sequences.setdefault(sequence, _Sequence())
                own.ask(place, sequence, calibrated(simulated).tolist(), self._means[neuron])

    def _exemplars(self, neuron: Neuron, split: str) -> Exemplars:
        per_kind, polarities = self._study.scoring.sequences_per_split, self._study.polarities
        return scored_exemplars(self._records[neuron], split, per_kind=per_kind, polarities=polarities)


def _means(study: Study, tables: AblatedTables) -> dict[Neuron, float]:
    """Return the mean activation of each sampled neuron on the side that is explained.

    A plain neuron's is taken over all tokens. Where both signs are explained apart, statistics know no mean
    of one side; the token-lookup table does, over all tokens but those of the neuron's own exemplars.
    """
    if len(study.polarities) == 1:
        columns = tables.statistics.select("neuron", "mean").iter_rows()
        return {(neuron, 1): mean for neuron, mean in columns}
    weighted = (pl.col("mean").cast(pl.Float64) * pl.col("count")).sum() / pl.col("count").sum()
    means = tables.lookup.group_by("neuron", "polarity").agg(weighted)
    return {(neuron, polarity): mean for neuron, polarity, mean in means.iter_rows()}

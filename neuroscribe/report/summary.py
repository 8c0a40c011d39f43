"""The numbers of a finished run: its neurons as they are described, and means per layer and per scorer.

Frames in, frames and records out. All scores are those of the chosen explanations on the test split, and the
headline's are those of the descriptions. Recognisable neurons are shown, and are in no mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuroscribe.evidence.sample import SET_ASIDE_REASONS, set_aside
from neuroscribe.measures.controls import discoveries
from neuroscribe.report.described import (
    Described,
    DescribedTables,
    best_and_worst,
    explained,
    recognisable,
    shown,
    sides_of,
    without,
)
from neuroscribe.report.gaps import gains, gaps
from neuroscribe.report.means import (
    explainer_table,
    held_against_ten,
    layer_table,
    null_reasons,
    scorer_table,
    spared,
)
from neuroscribe.report.recognised import LOOKED_AT, recognised
from neuroscribe.report.stability import stability_table
from neuroscribe.report.twins import SideBySide
from neuroscribe.study.dues import scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM
from neuroscribe.tables.statuses import EXPLANATION_STATUSES


@dataclass(frozen=True)
class Summary:
    """Everything the report at the end of a run says."""

    study: str
    subject: str
    scored_text: str
    """Of which text scores speak."""
    scorer: str
    """By which descriptions are chosen, and the study is summed up."""
    neurons: int
    """Neurons captured, over all layers with statistics."""
    captured_layers: int
    dead: int
    silent_layers: tuple[int, ...]
    """Captured layers none of whose neurons can be explained: all are dead or near-dead."""
    set_aside: Mapping[str, int]
    """Neurons and sides of the explained layers that no call was made about, by reason."""
    clear: int
    """Descriptions that are clearly better than others' explanations."""
    compared: int
    """Descriptions held against ten others, or against the first where one of these was as good."""
    statuses_of_neurons: Mapping[str, int]
    """How many neurons of the random sample are explained how far."""
    layers: pl.DataFrame
    explainers: pl.DataFrame
    scorers: pl.DataFrame
    stability: pl.DataFrame
    gaps: pl.DataFrame
    """What paraphrases lose; `gains`: what revisions gain."""
    gains: pl.DataFrame
    statuses: pl.DataFrame
    null_reasons: pl.DataFrame
    spared: pl.DataFrame
    recognised: tuple[Described, ...]
    """Neurons that a person recognises: explained, and mostly named by where they peak."""
    best: tuple[Described, ...]
    """The best of the random sample that are not among these."""
    worst: tuple[Described, ...]
    recognisable: tuple[Described, ...]
    twins: SideBySide | None
    """The study and its random-weights twin, where the store has both."""


@dataclass(frozen=True)
class Results:
    """The tables of a study, all layers together; columns as in `neuroscribe.tables`."""

    statistics: pl.DataFrame
    """At least the columns layer, neuron, min, max, dead and near_dead."""
    records: pl.DataFrame
    """At least the exemplars of the explained neurons."""
    explanations: pl.DataFrame
    scores: pl.DataFrame
    descriptions: pl.DataFrame
    sequences: pl.DataFrame
    vocabulary: pl.DataFrame


def summary(
    study: Study,
    results: Results,
    *,
    calls: Mapping[int, int] | None = None,
    seconds: Mapping[int, float] | None = None,
    twins: SideBySide | None = None,
) -> Summary:
    """Return the summary of a study's tables; `calls` (of an LLM) and `seconds` are known per layer."""
    described = results.descriptions
    tables = DescribedTables(described, results.records, results.sequences, results.vocabulary)
    compared = described.filter(held_against_ten("layer")).filter(sample=RANDOM)
    leading = recognised(shown(explained(described).head(LOOKED_AT), tables))
    first = sides_of(leading)
    best, worst = best_and_worst(described)
    silent = silent_layers(results.statistics)
    return Summary(
        study=study.name,
        subject=study.subject.title,
        scored_text=study.scored_text,
        scorer=scorer_name(study.describing.simulator),
        neurons=results.statistics.height,
        captured_layers=results.statistics["layer"].n_unique(),
        dead=int(results.statistics["dead"].sum()),
        silent_layers=silent,
        set_aside=set_aside_counts(study, results.statistics, results.explanations),
        clear=sum(discoveries(compared["p"].to_list())),
        compared=compared.height,
        statuses_of_neurons=_statuses_of_neurons(described),
        layers=layer_table(
            results.statistics,
            results.explanations,
            described,
            silent=silent,
            calls=calls or {},
            seconds=seconds or {},
        ),
        explainers=explainer_table(study, results.scores, described),
        scorers=scorer_table(study, results.scores),
        stability=stability_table(results.explanations, results.scores),
        gaps=gaps(study, results.explanations, results.scores),
        gains=gains(study, results.explanations, results.scores),
        statuses=status_table(results.explanations),
        null_reasons=null_reasons(results.scores),
        spared=spared(results.scores),
        recognised=leading,
        best=shown(without(best, [first]), tables),
        worst=shown(without(worst, [first]), tables),
        recognisable=shown(without(recognisable(described), [first]), tables),
        twins=twins,
    )


def _statuses_of_neurons(descriptions: pl.DataFrame) -> dict[str, int]:
    counts = descriptions.filter(sample=RANDOM)["status"].value_counts(sort=True)
    return dict(counts.iter_rows())


def silent_layers(statistics: pl.DataFrame) -> tuple[int, ...]:
    """Return the layers all of whose neurons are dead or near-dead, ascending."""
    alive = statistics.filter(~(pl.col("dead") | pl.col("near_dead")))["layer"]
    return tuple(sorted({*statistics["layer"].unique()} - {*alive.unique()}))


def status_table(explanations: pl.DataFrame) -> pl.DataFrame:
    """Return per explainer the number of explanations of each status."""
    counts = [(pl.col("status") == status).sum().alias(status) for status in EXPLANATION_STATUSES]
    return explanations.group_by("explainer", maintain_order=True).agg(*counts)


def set_aside_counts(study: Study, statistics: pl.DataFrame, explanations: pl.DataFrame) -> dict[str, int]:
    """Return how much of the explained layers' samples was set aside, by reason."""
    layers: list[int] = sorted(explanations["layer"].unique().to_list())
    found = [set_aside(study, layer, statistics.filter(pl.col("layer") == layer)) for layer in layers]
    return {
        reason: sum(int((frame["reason"] == reason).sum()) for frame in found) for reason in SET_ASIDE_REASONS
    }

"""What a run found, as text for the terminal."""

from collections.abc import Mapping, Sequence
from shlex import quote

import polars as pl

from dagster_project.command import width
from dagster_project.environments import Environment
from neuroscribe.kinds import read_studies
from neuroscribe.report.summary import Results, summary
from neuroscribe.report.tallies import llm_calls
from neuroscribe.report.text import report_text
from neuroscribe.report.twins import SideBySide, side_by_side
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.study.twins import twins
from resources.store.tables import Tables

_FACTS = ("layer", "neuron", "min", "max", "dead", "near_dead")
"""Columns of the statistics that the report rests on."""


def outcome(
    study: Study, environment: Environment, *, layers: Sequence[int], seconds: Mapping[int, float]
) -> str:
    """Return the report of a study's layers and what to type next."""
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)

    def every(table: str) -> pl.DataFrame:
        return pl.concat(tables.read(study.name, table, layer) for layer in layers)

    explanations = every("explanations")
    explained = explanations.select("layer", "neuron").unique()
    results = Results(
        statistics=pl.concat(
            tables.read(study.name, "activations/statistics", layer).select(*_FACTS)
            for layer in range(study.subject.layers)
        ),
        records=every("neuron_records").join(explained, on=["layer", "neuron"], how="semi"),
        explanations=explanations,
        scores=every("scores"),
        descriptions=every("descriptions"),
        sequences=tables.read(study.name, "corpus/sequences"),
        vocabulary=tables.read(study.name, "corpus/vocabulary"),
    )
    calls = {layer: _calls(study, tables, layer) for layer in layers}
    return report_text(
        summary(
            study, results, calls=calls, seconds=seconds, twins=_twins(study, environment, tables, layers)
        ),
        width(),
        next_steps=_next_steps(study, environment),
    )


def _twins(
    study: Study, environment: Environment, tables: Tables, layers: Sequence[int]
) -> SideBySide | None:
    """Return the study beside its twin among the study files, on the layers whose scores are up to date."""
    pair = twins(study, read_studies(environment.studies).values())
    if pair is None:
        return None
    lineages = [(each, Lineage(each.name, tables)) for each in pair]
    both = [
        layer
        for layer in layers
        if all(lineage.is_current(each, "scores", layer) for each, lineage in lineages)
    ]
    if not both:
        return None
    scores = [pl.concat(tables.read(each.name, "scores", layer) for layer in both) for each in pair]
    return side_by_side(pair, both, *scores)


def _calls(study: Study, tables: Tables, layer: int) -> int:
    judged = tables.read(study.name, "judgements", layer) if study.judging else None
    chosen = tables.read(study.name, "choices", layer) if study.choosing else None
    written = tables.read(study.name, "sentences", layer) if study.writing else None
    return llm_calls(
        study,
        tables.read(study.name, "explanations", layer),
        tables.read(study.name, "simulations", layer),
        judged,
        chosen,
        written,
    )


def _next_steps(study: Study, environment: Environment) -> list[str]:
    dataset = quote(f"{environment.store}/{study.name}/neuron_dataset")
    return [
        "make ui                     the graph, its lineage, checks and plots in Dagster",
        f"ls {dataset}    the dataset, with its card (README.md)",
        f"make bench-puzzles STUDY={study.name}    the same models on neurons whose explanation is known",
        "studies/embedded.toml       copy it to study another model (README.md, neuroscribe/study/)",
    ]

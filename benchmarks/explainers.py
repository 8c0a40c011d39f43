"""What every kind of explainer is worth on neurons of the default study's subject, and what it takes.

The study `explainers.toml` is run through the whole graph, in layers that the default study does not explain,
with eleven neurons a layer, so that each is held against ten others. `above_control` is the mean distance of
a score from the mean of its controls, in the paper's regime (top and random exemplars) and over the corpus;
`share_above_ten` the share of neurons whose score is above all ten. `best` is what a user is shown. CPU
seconds are measured apart, on a few neurons of the first layer, without any answer kept.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from benchmarks.figures import Figure, figure
from dagster_project.environments import Environment
from dagster_project.run import run
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.stage import explained_layer
from neuroscribe.kinds import read_study
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.study.dues import CORPUS, PAPER, scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, upstream_of
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from resources.store.tables import Tables

STUDY = Path(__file__).parent / "explainers.toml"
SIMULATOR = "embedding"
TIMED = 8
"""Neurons by which CPU seconds are told: one batch of the packaged model."""
REGIMES = {"paper": PAPER[0], "corpus": CORPUS}


def explainer_figures() -> Iterator[Figure]:
    """Run the study, and yield the figures of each of its explainers and of the best of them."""
    study, environment = read_study(STUDY), Environment.read()
    run(study, environment, layers=study.sampled_layers)
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    scores, explanations, descriptions = (
        _all_layers(tables, study, name) for name in ("scores", "explanations", "descriptions")
    )
    best = scores.join(descriptions.select("explanation_id"), on="explanation_id", how="semi")
    groups = {
        **{name: _of(scores, name) for name, spec in study.explainers.items() if spec.half == "input"},
        "best": best.filter(pl.col("split") == "test"),
    }
    for name, rows in groups.items():
        yield from agreement(name, rows)
    yield from taken(explanations)
    yield from _seconds(study, environment, tables)


def agreement(name: str, rows: pl.DataFrame) -> Iterator[Figure]:
    """Yield what the scores of one kind say; those without a value count as 0, and as not above."""
    for short, regime in REGIMES.items():
        of = rows.filter(pl.col("scorer") == scorer_name(SIMULATOR), pl.col("regime") == regime)
        if of.is_empty():
            continue
        held = of.with_columns(pl.col("value", "control").fill_null(0.0))
        difference = (held["value"] - held["control"]).mean()
        above = ((held["p"] <= 1 / (1 + CONTROLS)) & (held["n_controls"] >= CONTROLS)).fill_null(value=False)
        prefix = "" if short == "paper" else f"{short}."
        yield figure(
            f"explain.{prefix}score.{name}", [_number(held["value"].mean())], "correlation", n=len(of)
        )
        yield figure(f"explain.{prefix}above_control.{name}", [_number(difference)], "correlation", n=len(of))
        share = _number(above.mean())
        yield figure(f"explain.{prefix}share_above_ten.{name}", [share], "of neurons", n=len(of))


def taken(explanations: pl.DataFrame) -> Iterator[Figure]:
    """Yield the calls and tokens per neuron of each explainer."""
    published = explanations.filter(draw=0)
    sides = published.select("layer", "neuron", "polarity").n_unique()
    for (name,), rows in published.group_by("explainer", maintain_order=True):
        tokens = (rows["prompt_tokens"] + rows["completion_tokens"]).sum()
        calls = int((rows["prompt_tokens"] > 0).sum())
        yield figure(f"explain.tokens.{name}", [tokens / sides], "tokens per neuron", n=sides)
        yield figure(f"explain.calls.{name}", [calls / sides], "calls per neuron", n=sides)


def _seconds(study: Study, environment: Environment, tables: Tables) -> Iterator[Figure]:
    """Yield the CPU seconds per neuron of each explainer, those that it builds on included."""
    layer = study.sampled_layers[0]
    evidence = _evidence(study, tables, layer)
    neurons = evidence.neurons[:TIMED]
    resources = environment.resources()
    for name in study.explainers:
        only = study.model_copy(update={"explainers": _with_bases(study, name)})
        alone = LayerEvidence(only, layer, evidence.tables, neurons=neurons)
        begun = time.process_time()
        asyncio.run(
            explained_layer(
                alone,
                llm=resources["llm"],
                encoders=resources["encoders"],
                calls=MemoryCalls(),
                progress=SilentProgress(),
            )
        )
        spent = (time.process_time() - begun) / len(neurons)
        yield figure(f"explain.cpu_s.{name}", [spent], "CPU seconds per neuron", n=len(neurons))


def _with_bases(study: Study, name: str) -> Mapping[str, object]:
    bases = {other: study.explainers[other] for other in study.explainers[name].builds_on}
    return {**bases, name: study.explainers[name]}


def _evidence(study: Study, tables: Tables, layer: int) -> LayerEvidence:
    """Return what the explanations of a layer are made from, as the store has it."""
    read: dict[str, pl.DataFrame] = {}
    for stage in upstream_of(study, "explanations"):
        for table in STAGES[stage].tables:
            read[table.name] = tables.read(study.name, table.name, layer if table.per_layer else None)
    return LayerEvidence(study, layer, read)


def _all_layers(tables: Tables, study: Study, name: str) -> pl.DataFrame:
    return pl.concat([tables.read(study.name, name, layer) for layer in study.sampled_layers])


def _of(scores: pl.DataFrame, explainer: str) -> pl.DataFrame:
    return scores.filter(pl.col("explainer") == explainer, pl.col("split") == "test", pl.col("chosen"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0

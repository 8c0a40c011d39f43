"""The numbers of a finished run: per layer, per scorer, and its best and worst explanations.

Frames in, frames and records out. All scores are those of the chosen explanations on the test split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.evidence.sample import SET_ASIDE_REASONS, set_aside
from neuroscribe.measures.controls import CONTROLS, FIRST, discoveries
from neuroscribe.measures.means import mean_interval
from neuroscribe.report.excerpts import Excerpt, excerpts, firing
from neuroscribe.report.gaps import gains, gaps
from neuroscribe.report.stability import stability_table
from neuroscribe.report.twins import SideBySide
from neuroscribe.study.dues import CORPUS, RANGES, dues, scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.tables.statuses import EXPLANATION_STATUSES
from neuroscribe.text.corpus import TokenBytes

EXCERPTS = 2
"""Excerpts shown with an explanation."""


@dataclass(frozen=True)
class Judged:
    """One explanation with its score and what the neuron really does."""

    layer: int
    neuron: int
    polarity: int
    text: str
    value: float
    ci_low: float | None
    ci_high: float | None
    ceiling: float | None
    control: float | None
    excerpts: tuple[Excerpt, ...]


def best_and_worst(
    scores: pl.DataFrame, results: "Results", *, n: int = 3
) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """Return the `n` highest and the `n` lowest scored explanations, best first and worst first.

    `scores` has one row per explanation (see `main_scores`); those without a value are left out. With fewer
    than 2n values, none is shown twice: the best go first. Ties go to the lower layer and neuron.
    """
    valued = scores.filter(pl.col("value").is_not_null()).sort(
        "value", "layer", "neuron", "polarity", descending=[True, False, False, True]
    )
    best = valued.head(n)
    worst = valued.tail(min(n, max(0, len(valued) - n))).reverse()
    shown = pl.concat([best, worst]).join(
        results.explanations.select("explanation_id", "text"),
        on="explanation_id", how="left", maintain_order="left",
    )  # fmt: skip
    neurons = shown.select("layer", "neuron", "polarity").unique()
    records = results.records.join(neurons, on=["layer", "neuron", "polarity"], how="semi")
    exemplars = firing(records, per_neuron=EXCERPTS)
    tokens = TokenBytes(results.sequences, results.vocabulary)
    judged = [_judged(row, exemplars, tokens) for row in shown.iter_rows(named=True)]
    return tuple(judged[: len(best)]), tuple(judged[len(best) :])


def _judged(
    row: Mapping[str, Any], exemplars: pl.DataFrame, tokens: Mapping[int, tuple[bytes, ...]]
) -> Judged:
    own = exemplars.filter(
        pl.col("layer") == row["layer"],
        pl.col("neuron") == row["neuron"],
        pl.col("polarity") == row["polarity"],
    )
    facts = ("layer", "neuron", "polarity", "text", "value", "ci_low", "ci_high", "ceiling", "control")
    return Judged(**{fact: row[fact] for fact in facts}, excerpts=tuple(excerpts(own, tokens)))


@dataclass(frozen=True)
class Headline:
    """The explainer and scorer by which a study is summed up; all others are listed apart."""

    explainer: str
    scorer: str

    @classmethod
    def of(cls, study: Study) -> "Headline":
        """Return the study's first simulator with the first of its explainers."""
        name, simulator = next(iter(study.simulators.items()))
        return cls(simulator.explainers[0], scorer_name(name))


@dataclass(frozen=True)
class Summary:
    """Everything the report at the end of a run says."""

    study: str
    subject: str
    scored_text: str
    """Of which text scores speak."""
    headline: Headline
    neurons: int
    """Neurons captured, over all layers with statistics."""
    captured_layers: int
    dead: int
    silent_layers: tuple[int, ...]
    """Captured layers none of whose neurons can be explained: all are dead or near-dead."""
    set_aside: Mapping[str, int]
    """Neurons and sides of the explained layers that no call was made about, by reason."""
    clear: int
    """Explanations that are clearly better than others', by the headline scorer."""
    compared: int
    """Explanations held against ten others, or against the first where one of these was as good."""
    layers: pl.DataFrame
    scorers: pl.DataFrame
    stability: pl.DataFrame
    gaps: pl.DataFrame
    """What paraphrases lose; `gains`: what revisions gain."""
    gains: pl.DataFrame
    statuses: pl.DataFrame
    null_reasons: pl.DataFrame
    best: tuple[Judged, ...]
    worst: tuple[Judged, ...]
    twins: SideBySide | None
    """The study and its random-weights twin, where the store has both."""


@dataclass(frozen=True)
class Results:
    """The tables of a study, all layers together; columns as in `neuroscribe.tables.records`."""

    statistics: pl.DataFrame
    """At least the columns layer, neuron, min, max, dead and near_dead."""
    records: pl.DataFrame
    """At least the exemplars of the explained neurons."""
    explanations: pl.DataFrame
    scores: pl.DataFrame
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
    headline = Headline.of(study)
    main = main_scores(results.scores, headline)
    compared = main.filter(_held_against_ten())
    best, worst = best_and_worst(main, results)
    return Summary(
        study=study.name,
        subject=study.subject.title,
        scored_text=study.scored_text,
        headline=headline,
        neurons=results.statistics.height,
        captured_layers=results.statistics["layer"].n_unique(),
        dead=int(results.statistics["dead"].sum()),
        silent_layers=silent_layers(results.statistics),
        set_aside=set_aside_counts(study, results.statistics, results.explanations),
        clear=sum(discoveries(compared["p"].to_list())),
        compared=compared.height,
        layers=layer_table(results, headline, calls=calls or {}, seconds=seconds or {}),
        scorers=scorer_table(study, results.scores),
        stability=stability_table(results.explanations, results.scores),
        gaps=gaps(study, results.explanations, results.scores),
        gains=gains(study, results.explanations, results.scores),
        statuses=status_table(results.explanations),
        null_reasons=null_reasons(results.scores),
        best=best,
        worst=worst,
        twins=twins,
    )


def main_scores(scores: pl.DataFrame, headline: Headline) -> pl.DataFrame:
    """Return the rows a study is summed up by: one per explanation that the headline scorer judged."""
    return _reported(scores).filter(
        pl.col("regime") == CORPUS,
        pl.col("scorer") == headline.scorer,
        pl.col("explainer") == headline.explainer,
    )


def _held_against_ten() -> pl.Expr:
    """Tell of scores whether they were held against ten controls, as far as these could decide anything.

    Where one of the first is as good as the own explanation, the others are not asked for. To leave such
    explanations out would be to choose the lucky ones, and to call too many of them better.
    """
    # In a layer with fewer others nothing was spared, and none that did better could count beside it.
    might_have_had_ten = pl.len().over("layer") > CONTROLS
    beaten = might_have_had_ten & (pl.col("n_controls") >= FIRST) & (pl.col("p") > 1 / (1 + FIRST))
    return pl.col("p").is_not_null() & ((pl.col("n_controls") >= CONTROLS) | beaten)


def silent_layers(statistics: pl.DataFrame) -> tuple[int, ...]:
    """Return the layers all of whose neurons are dead or near-dead, ascending."""
    alive = statistics.filter(~(pl.col("dead") | pl.col("near_dead")))["layer"]
    return tuple(sorted({*statistics["layer"].unique()} - {*alive.unique()}))


def layer_table(
    results: Results, headline: Headline, *, calls: Mapping[int, int], seconds: Mapping[int, float]
) -> pl.DataFrame:
    """Return one row per explained or silent layer and a last one, whose layer is null, for all together.

    Explained neurons (each polarity on its own), score, ceiling, control and nulls are the headline
    explainer's and scorer's, the means over explanations that have a score; tokens are those sent and
    received for all explanations, without the simulations. `score_or_0` counts undefined scores as 0 (see
    `with_undefined`). The interval is that of the mean over neurons (`mean_interval`), null below three.
    Unknown calls and seconds are null; a silent layer takes none.
    """
    main = main_scores(results.scores, headline)
    silent = silent_layers(results.statistics)
    calls, seconds = {**dict.fromkeys(silent, 0), **calls}, {**dict.fromkeys(silent, 0.0), **seconds}
    layers: list[int] = sorted({*results.explanations["layer"].unique(), *silent})
    rows: list[dict[str, Any]] = []
    for group in [*([layer] for layer in layers), layers]:
        row = _layer_row(group, results, main, headline)
        row |= {"calls": _total(group, calls), "seconds": _total(group, seconds)}
        rows.append(row | {"layer": layers[len(rows)] if len(rows) < len(layers) else None})
    return pl.DataFrame(rows, schema=_LAYER_COLUMNS)


def scorer_table(study: Study, scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per scorer, explainer and regime: numbers scored and without value, and means.

    The means are over the explanations that have a value, so that score, ceiling and control compare; beside
    them stands that with undefined scores counted as 0, null for measures by which guessing has more than 0.
    """
    keys = ["scorer", "explainer", "regime"]
    above_0 = [due.scorer for due in dues(study) if due.measure in _GUESSED_ABOVE_0]
    return (
        _reported(scores)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("value").count().alias("n"),
            pl.col("value").mean().alias("score"),
            with_undefined("value").alias("score_or_0"),
            _of_all("ceiling").alias("ceiling"),
            pl.col("control").filter(pl.col("value").is_not_null()).mean(),
            pl.col("value").null_count().alias("nulls"),
        )
        .with_columns(pl.when(~pl.col("scorer").is_in(above_0)).then("score_or_0"))
    )


def _of_all(column: str) -> pl.Expr:
    """Return the mean over rows that have a value; null where one of these lacks the mark.

    Exemplars outside of a seeded draw (`sample.sequences`) have no ceiling: a mean over the few others would
    not compare.
    """
    known = pl.col(column).filter(pl.col("value").is_not_null())
    return pl.when(known.null_count() == 0).then(known.mean())


def with_undefined(column: str) -> pl.Expr:
    """Return the mean of scores with those that are undefined counted as 0, null where none is defined.

    A score is undefined mostly because nothing is said of the neuron: the simulation is the same everywhere.
    The mean of those that are defined leaves these out, and is too far from 0.
    """
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).fill_null(0.0).mean())


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


def null_reasons(scores: pl.DataFrame) -> pl.DataFrame:
    """Return why reported scores have no value, by scorer, the most frequent first."""
    return (
        _reported(scores)
        .filter(pl.col("value").is_null())
        .group_by("scorer", "explainer", "null_reason", maintain_order=True)
        .agg(pl.len().alias("n"))
        .sort("n", descending=True, maintain_order=True)
    )


_GUESSED_ABOVE_0 = ("balanced_accuracy", "auc", "steering")
"""Measures that are 1/2 or 1/3 by guessing, so that a 0 would say more than nothing."""
_LAYER_COLUMNS = {
    "layer": pl.Int64, "neurons": pl.Int64, "dead": pl.Int64, "explained": pl.Int64, "scored": pl.Int64,
    "score": pl.Float64, "score_or_0": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64,
    "ceiling": pl.Float64, "control": pl.Float64, "nulls": pl.Int64, "calls": pl.Int64,
    "tokens": pl.Int64, "seconds": pl.Float64,
}  # fmt: skip


def _reported(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.filter((pl.col("split") == "test") & pl.col("chosen"))


def _layer_row(layers: list[int], results: Results, main: pl.DataFrame, headline: Headline) -> dict[str, Any]:
    """Return what the tables say about some layers together."""
    here = pl.col("layer").is_in(layers)
    captured, made = results.statistics.filter(here), results.explanations.filter(here)
    scored = main.filter(here)
    explained = made.filter(status="ok", explainer=headline.explainer, draw=0)
    valued = scored.filter(pl.col("value").is_not_null())
    least, most = RANGES["correlation"]
    low, high = mean_interval(valued["value"], least=least, most=most)
    return {
        "neurons": captured.height,
        "dead": int(captured["dead"].sum()),
        "explained": explained.select("layer", "neuron", "polarity").n_unique(),
        "scored": valued.height,
        "score": valued["value"].mean(),
        "score_or_0": scored.select(with_undefined("value")).item(),
        "ci_low": low,
        "ci_high": high,
        "ceiling": valued["ceiling"].mean(),
        "control": valued["control"].mean(),
        "nulls": scored["value"].null_count(),
        "tokens": int(made["prompt_tokens"].sum()) + int(made["completion_tokens"].sum()),
    }


def _total(layers: list[int], known: Mapping[int, Any]) -> Any:
    """Return the sum over the layers, None unless it is known for each."""
    return sum(known[layer] for layer in layers) if all(layer in known for layer in layers) else None

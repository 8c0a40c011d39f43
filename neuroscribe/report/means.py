"""Means of a run's scores over the random sample: of descriptions by layer, of explainers, of scorers.

Of the recognisable neurons nothing is in any of them, and neither is what a ranking spared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.measures.controls import CONTROLS, FIRST
from neuroscribe.measures.means import mean_interval
from neuroscribe.simulate.ranking import was_spared
from neuroscribe.study.dues import CORPUS, RANGES, dues, scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM

_SIDE = ("layer", "neuron", "polarity")
_GUESSED_ABOVE_0 = ("balanced_accuracy", "auc", "steering")
"""Measures that are 1/2 or 1/3 by guessing, so that a 0 would say more than nothing."""


def reported(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the scores of chosen explanations of the random sample on the test split, spared ones aside."""
    return scores.filter((pl.col("split") == "test") & pl.col("chosen") & ~was_spared(), sample=RANDOM)


def held_against_ten(*groups: str) -> pl.Expr:
    """Tell of scores whether they were held against ten controls, as far as these could decide anything.

    Where one of the first is as good as the own explanation, the others are not asked for. To leave such
    explanations out would be to choose the lucky ones, and to call too many of them better. `groups` are the
    columns within which explanations are each other's controls.
    """
    # In a layer with fewer others nothing was spared, and none that did better could count beside it.
    might_have_had_ten = pl.len().over(groups) > CONTROLS
    beaten = might_have_had_ten & (pl.col("n_controls") >= FIRST) & (pl.col("p") > 1 / (1 + FIRST))
    return pl.col("p").is_not_null() & ((pl.col("n_controls") >= CONTROLS) | beaten)


ABOVE_ALL = pl.col("p") <= 1 / (1 + CONTROLS) + 1e-9
"""Of scores held against ten: whether none of these is as good."""


def layer_table(
    statistics: pl.DataFrame,
    explanations: pl.DataFrame,
    descriptions: pl.DataFrame,
    *,
    silent: Sequence[int] = (),
    calls: Mapping[int, int],
    seconds: Mapping[int, float],
) -> pl.DataFrame:
    """Return one row per explained or silent layer and a last one, whose layer is null, for all together.

    Neurons (each polarity on its own), score, ceiling, control and nulls are those of the descriptions of the
    random sample, the means over those that have a score; `above` counts those above all ten controls, of
    `compared` that were held against ten. Tokens are those sent and received for all explanations, without
    the simulations. `score_or_0` counts undefined scores as 0 (see `with_undefined`). The interval is that of
    the mean over neurons (`mean_interval`), null below three. Unknown calls and seconds are null; a `silent`
    layer takes none.
    """
    calls, seconds = {**dict.fromkeys(silent, 0), **calls}, {**dict.fromkeys(silent, 0.0), **seconds}
    layers: list[int] = sorted({*explanations["layer"].unique(), *silent})
    marked = descriptions.with_columns(compared=held_against_ten("layer")).filter(sample=RANDOM)
    rows: list[dict[str, Any]] = []
    for group in [*([layer] for layer in layers), layers]:
        here = pl.col("layer").is_in(group)
        row = _layer_row(statistics.filter(here), explanations.filter(here), marked.filter(here))
        row |= {"calls": _total(group, calls), "seconds": _total(group, seconds)}
        rows.append(row | {"layer": layers[len(rows)] if len(rows) < len(layers) else None})
    return pl.DataFrame(rows, schema=_LAYER_COLUMNS)


_LAYER_COLUMNS = {
    "layer": pl.Int64, "neurons": pl.Int64, "dead": pl.Int64, "explained": pl.Int64, "scored": pl.Int64,
    "score": pl.Float64, "score_or_0": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64,
    "ceiling": pl.Float64, "control": pl.Float64, "above": pl.Int64, "compared": pl.Int64,
    "nulls": pl.Int64, "calls": pl.Int64, "tokens": pl.Int64, "seconds": pl.Float64,
}  # fmt: skip


def _layer_row(captured: pl.DataFrame, made: pl.DataFrame, described: pl.DataFrame) -> dict[str, Any]:
    """Return what the tables say about some layers together."""
    valued = described.drop_nulls("score")
    least, most = RANGES["correlation"]
    low, high = mean_interval(valued["score"], least=least, most=most)
    compared = described.filter("compared")
    return {
        "neurons": captured.height,
        "dead": int(captured["dead"].sum()),
        "explained": described["explanation_id"].count(),
        "scored": valued.height,
        "score": valued["score"].mean(),
        "score_or_0": described.select(with_undefined("score")).item(),
        "ci_low": low,
        "ci_high": high,
        "ceiling": valued["ceiling"].mean(),
        "control": valued["control"].mean(),
        "above": compared.filter(ABOVE_ALL).height,
        "compared": compared.height,
        "nulls": described["score"].null_count(),
        "tokens": int(made["prompt_tokens"].sum()) + int(made["completion_tokens"].sum()),
    }


def explainer_table(study: Study, scores: pl.DataFrame, descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return one row per explainer that the deciding simulator reads, after one for the descriptions.

    Of the random sample, over the corpus: how many are scored, mean score, ceiling and control, of how many
    that were held against ten controls how many are above all (`compared`, `above`), and of how many neurons
    it is the description (`best`).
    """
    scorer = scorer_name(study.describing.simulator)
    described = descriptions.with_columns(explainer=pl.lit("descriptions"), value="score")
    columns = [*_SIDE, "sample", "explainer", "value", "ceiling", "control", "n_controls", "p"]
    own = scores.filter("chosen", split="test", regime=CORPUS, scorer=scorer)
    every = pl.concat([described.select(columns), own.select(columns)])
    best = descriptions.filter(sample=RANDOM).drop_nulls("explainer").group_by("explainer").agg(best=pl.len())
    return (
        every.with_columns(compared=held_against_ten("layer", "explainer"))
        .filter(sample=RANDOM)
        .group_by("explainer", maintain_order=True)
        .agg(
            n=pl.col("value").count(),
            score=pl.col("value").mean(),
            ceiling=of_all("ceiling"),
            control=pl.col("control").filter(pl.col("value").is_not_null()).mean(),
            above=(pl.col("compared") & ABOVE_ALL).sum(),
            compared=pl.col("compared").sum(),
        )
        .join(best, on="explainer", how="left", maintain_order="left")
        .with_columns(pl.col("best").fill_null(0))
        .cast(_EXPLAINER_COLUMNS)  # pyright: ignore[reportArgumentType]
    )


_EXPLAINER_COLUMNS = {
    "explainer": pl.String, "n": pl.Int64, "score": pl.Float64, "ceiling": pl.Float64,
    "control": pl.Float64, "above": pl.Int64, "compared": pl.Int64, "best": pl.Int64,
}  # fmt: skip


def scorer_table(study: Study, scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per scorer, explainer and regime: numbers scored and without value, and means.

    The means are over the explanations that have a value, so that score, ceiling and control compare; beside
    them stands that with undefined scores counted as 0, null for measures by which guessing has more than 0.
    """
    keys = ["scorer", "explainer", "regime"]
    above_0 = [due.scorer for due in dues(study) if due.measure in _GUESSED_ABOVE_0]
    return (
        reported(scores)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("value").count().alias("n"),
            pl.col("value").mean().alias("score"),
            with_undefined("value").alias("score_or_0"),
            of_all("ceiling").alias("ceiling"),
            pl.col("control").filter(pl.col("value").is_not_null()).mean(),
            pl.col("value").null_count().alias("nulls"),
        )
        .with_columns(pl.when(~pl.col("scorer").is_in(above_0)).then("score_or_0"))
    )


def of_all(column: str) -> pl.Expr:
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


def null_reasons(scores: pl.DataFrame) -> pl.DataFrame:
    """Return why reported scores have no value, by scorer, the most frequent first."""
    return _reasons(reported(scores))


def spared(scores: pl.DataFrame) -> pl.DataFrame:
    """Return what simulators that are asked did not read, for there were better texts, in the same form."""
    return _reasons(scores.filter(was_spared(), split="test", regime=CORPUS))


def _reasons(scores: pl.DataFrame) -> pl.DataFrame:
    return (
        scores.filter(pl.col("value").is_null())
        .group_by("scorer", "explainer", "null_reason", maintain_order=True)
        .agg(pl.len().alias("n"))
        .sort("n", descending=True, maintain_order=True)
    )


def _total(layers: list[int], known: Mapping[int, Any]) -> Any:
    """Return the sum over the layers, None unless it is known for each."""
    return sum(known[layer] for layer in layers) if all(layer in known for layer in layers) else None

"""Data-quality rules by which a layer's scores are held against others: its own before, and its neighbours'.

They all warn: what has changed, or sticks out, may be a finding. Means are those of an explainer's chosen
texts on `test` over the corpus, by the simulator that decides, of the random sample.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import cast

import polars as pl

from neuroscribe.ports.checks import Rows, Rule, Suite, Told
from neuroscribe.ports.sources import TableReader
from neuroscribe.score.rules import rows_of, rules_for
from neuroscribe.study.dues import CORPUS, scorer_name
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM

MEANS = "mean_by_explainer"
"""Under this name the means are told as scores are made."""
MOST_LOST = 0.1
MOST_BEYOND = 0.1
FEWEST = 5
"""Of fewer values no mean is compared: it would be chance."""
_DEVIATIONS = 3.0
"""A mean of few neurons may lie so many standard errors further out."""
_NEIGHBOURS = "like_neighbouring_layers"

RULES = (
    Rule(
        "not_lower_than_before", "difference", ("mean", "before"),
        f"An explainer's mean score is at most {MOST_LOST} below that of the scores that were there before.",
        low=-MOST_LOST, severity="warn", frame="before",
    ),
    Rule(
        _NEIGHBOURS, "difference", ("allowed", "beyond"),
        f"An explainer's mean score is between those in the nearest scored layers on either side, or at most"
        f" {MOST_BEYOND} and {_DEVIATIONS:.0f} standard errors beyond.",
        low=0.0, severity="warn", frame="neighbours",
    ),
)  # fmt: skip


def layer_means(study: Study, scores: pl.DataFrame) -> dict[str, float]:
    """Return the mean score by explainer, of those with enough scores."""
    return {row["explainer"]: row["mean"] for row in _means(study, scores).iter_rows(named=True)}


def before_rows(study: Study, layer: int, scores: pl.DataFrame, told: Told) -> Rows:
    """Return one row per explainer that had a mean before and has one now."""
    before = cast("Mapping[str, float]", told.before.get(MEANS, {}))
    rows = [
        {"layer": layer, "explainer": explainer, "mean": mean, "before": before[explainer]}
        for explainer, mean in layer_means(study, scores).items()
        if explainer in before
    ]
    schema = {"layer": pl.Int16, "explainer": pl.String, "mean": pl.Float64, "before": pl.Float64}
    return Rows(pl.DataFrame(rows, schema), ("layer", "explainer"))


def neighbour_rows(study: Study, layer: int, scores: pl.DataFrame, beside: Sequence[pl.DataFrame]) -> Rows:
    """Return one row per explainer that has means in the layer and in both layers `beside` it.

    `beyond` is how far the layer's mean lies outside the range of the neighbours', `allowed` how far it may.
    A layer at an end, which has one neighbour, has no row: scores may fall, or rise, from layer to layer.
    """
    around = [_means(study, each).select("explainer", "mean") for each in beside]
    if len(around) < 2:
        around = [_means(study, scores.clear()).select("explainer", "mean")] * 2
    low, high = pl.min_horizontal("below", "above"), pl.max_horizontal("below", "above")
    frame = (
        _means(study, scores)
        .join(around[0].rename({"mean": "below"}), on="explainer")
        .join(around[1].rename({"mean": "above"}), on="explainer", maintain_order="left")
        .select(
            pl.lit(layer, pl.Int16).alias("layer"),
            "explainer",
            "mean",
            "below",
            "above",
            beyond=pl.max_horizontal(low - pl.col("mean"), pl.col("mean") - high, pl.lit(0.0)),
            allowed=MOST_BEYOND + _DEVIATIONS * pl.col("error"),
        )
    )
    return Rows(frame, ("layer", "explainer", "mean", "below", "above"))


def nearest(layer: int, layers: Sequence[int]) -> list[int]:
    """Return the nearest of some ascending layers below a layer and above it, as far as there are any."""
    others = [each for each in layers if each != layer]
    place = bisect_left(others, layer)
    return others[max(place - 1, 0) : place] + others[place : place + 1]


def _means(study: Study, scores: pl.DataFrame) -> pl.DataFrame:
    """Return mean and standard error by explainer, of those with enough scores."""
    scorer = scorer_name(study.describing.simulator)
    headline = scores.filter("chosen", split="test", regime=CORPUS, sample=RANDOM, scorer=scorer)
    value = pl.col("value")
    return (
        headline.drop_nulls("value")
        .group_by("explainer")
        .agg(mean=value.mean(), error=value.std() / value.len().sqrt(), values=value.len())
        .filter(pl.col("values") >= FEWEST)
        .sort("explainer")
    )


class ScoreSuite(Suite):
    """What is examined of scores: by themselves, and beside others."""

    stage = "scores"
    reads = ("explanations",)
    beside = (_NEIGHBOURS,)

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the rules of the study's scores, and those that compare."""
        return (*rules_for(study), *RULES)

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the rows of a layer."""
        assert layer is not None, "scores are a layer's"
        scores = tables.read(study.name, "scores", layer)
        explanations = tables.read(study.name, "explanations", layer)
        return {
            **rows_of(scores, explanations, study),
            "before": before_rows(study, layer, scores, told),
            "neighbours": neighbour_rows(study, layer, scores, _beside(study, layer, tables)),
        }


def _beside(study: Study, layer: int, tables: TableReader) -> list[pl.DataFrame]:
    """Return the scores of the nearest layers, of those that the study as it stands has made."""
    lineage = Lineage(study.name, tables)
    return [
        tables.read(study.name, "scores", each)
        for each in nearest(layer, tables.layers(study.name, "scores"))
        if lineage.is_current(study, "scores", each)
    ]

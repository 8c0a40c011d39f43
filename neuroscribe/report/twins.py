"""A study and its random-weights twin side by side: what explanations are worth where nothing was learned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import polars as pl

from neuroscribe.study.dues import Due, dues
from neuroscribe.study.twins import Twins
from neuroscribe.tables.columns import RANDOM

MOST_BEYOND = 0.02
"""How far the twin's explanations may be above their control on average before the report warns."""
WEIGHTS: tuple[str, str] = ("trained", "randomised")
_COLUMNS = {
    "scorer": pl.String, "explainer": pl.String, "weights": pl.String, "n": pl.Int64, "score": pl.Float64,
    "control": pl.Float64, "difference": pl.Float64, "error": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True)
class SideBySide:
    """A study and its twin, on the layers that both have scored."""

    trained: str
    randomised: str
    layers: tuple[int, ...]
    table: pl.DataFrame

    @property
    def beyond(self) -> pl.DataFrame:
        """The rows of the twin whose explanations are better than their control by more than they may be."""
        return self.table.filter(pl.col("weights") == WEIGHTS[1], pl.col("difference") > MOST_BEYOND)


def side_by_side(
    pair: Twins, layers: Sequence[int], trained: pl.DataFrame, randomised: pl.DataFrame
) -> SideBySide:
    """Return both studies' scores on some layers, from the table `scores` of each.

    One row per scorer, explainer and weights, of the chosen explanations on the test split and the scorer's
    first regime: how many have both a score and a control, the means of these, and the mean difference with
    its standard error over explanations (null for fewer than two).
    """
    tables: Mapping[str, pl.DataFrame] = dict(zip(WEIGHTS, (trained, randomised), strict=True))
    rows = [row for due in dues(pair.trained) for row in _rows(due, tables, layers)]
    table = pl.DataFrame(rows, schema=_COLUMNS)
    return SideBySide(pair.trained.name, pair.randomised.name, tuple(layers), table)


def _rows(due: Due, tables: Mapping[str, pl.DataFrame], layers: Sequence[int]) -> Iterator[dict[str, Any]]:
    for weights, scores in tables.items():
        own = scores.filter(
            "chosen",
            pl.col("layer").is_in(list(layers)),
            split="test",
            sample=RANDOM,
            scorer=due.scorer,
            explainer=due.explainer,
            regime=due.regimes[0],
        ).drop_nulls(["value", "control"])
        difference = own["value"] - own["control"]
        spread = difference.std()
        yield {
            "scorer": due.scorer,
            "explainer": due.explainer,
            "weights": weights,
            "n": own.height,
            "score": own["value"].mean(),
            "control": own["control"].mean(),
            "difference": difference.mean(),
            "error": None if spread is None else spread / sqrt(own.height),  # type: ignore[operator]
        }

"""Neurons with their descriptions, as a person is shown them: with score, marks, and where they peak."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.report.excerpts import Excerpt, excerpts, firing
from neuroscribe.tables.columns import RANDOM, RECOGNISABLE
from neuroscribe.text.corpus import TokenBytes

EXCERPTS = 3
"""Excerpts shown with a neuron."""
SUCCESSES = ("explained", "token detector")
"""Statuses of descriptions that explain their neuron."""


@dataclass(frozen=True)
class DescribedTables:
    """The tables from which neurons are shown, of one layer or more."""

    descriptions: pl.DataFrame
    records: pl.DataFrame
    """At least the exemplars of the described neurons."""
    sequences: pl.DataFrame
    vocabulary: pl.DataFrame


_FACTS = (
    "layer", "neuron", "polarity", "sample", "status", "text", "by_llm", "explainer", "why", "score",
    "ci_low", "ci_high", "ceiling", "control", "n_controls", "output_text", "output_score",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """One neuron with its description and what it really does; None is unknown."""

    layer: int
    neuron: int
    polarity: int
    sample: str
    status: str
    text: str | None
    by_llm: bool | None
    explainer: str | None
    why: str
    score: float | None
    ci_low: float | None
    ci_high: float | None
    ceiling: float | None
    control: float | None
    n_controls: int
    output_text: str | None
    output_score: float | None
    excerpts: tuple[Excerpt, ...]

    @property
    def how_good(self) -> str:
        """Say in plain words what the score is worth."""
        if self.score is None:
            return "no score: " + ("nothing was said of it" if self.text is None else "it could not be read")
        marks = [f"other neurons' texts reach {self.control:.2f}"] if self.control is not None else []
        if self.ceiling is None:
            return "; ".join([f"{self._grade}: {self.score:.2f}", *marks])
        reach = f"where the tokens alone reach {self.ceiling:.2f}"
        if self.score > self.ceiling:
            reach = f"more than the tokens alone reach ({self.ceiling:.2f})"
        return "; ".join([f"{self._grade}: {self.score:.2f}, {reach}", *marks])

    @property
    def _grade(self) -> str:
        """One word: good from .3 or what the tokens alone reach on, where the neuron is explained at all."""
        if self.status in SUCCESSES:
            aim = _GOOD if self.ceiling is None else min(_GOOD, self.ceiling)
            return "good" if (self.score or 0.0) >= aim else "fair"
        return "poor" if self.status == "poorly explained" else "not explained"


_GOOD = 0.3
"""Score from which on the description of an explained neuron is called good."""


def best_first(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return the descriptions with a score, the best first; ties go to the lower layer and neuron."""
    return descriptions.drop_nulls("score").sort(
        "score", "layer", "neuron", "polarity", descending=[True, False, False, True]
    )


def explained(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return those that explain their neuron, of the random and the recognisable ones, the best first."""
    return best_first(descriptions.filter(pl.col("status").is_in(SUCCESSES)))


def best_and_worst(descriptions: pl.DataFrame, *, n: int = 3) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the `n` highest and the `n` lowest of the random sample, best first and worst first.

    With fewer than 2n values, none is in both: the best go first.
    """
    valued = best_first(descriptions.filter(sample=RANDOM))
    return valued.head(n), valued.tail(min(n, max(0, len(valued) - n))).reverse()


def recognisable(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return what was drawn among neurons that their tokens predict, the best first, those without last."""
    return descriptions.filter(sample=RECOGNISABLE).sort(
        "score", "layer", "neuron", descending=[True, False, False], nulls_last=True
    )


def shown(rows: pl.DataFrame, tables: DescribedTables) -> tuple[Described, ...]:
    """Return neurons with their excerpts, in the order of the rows."""
    sides = rows.select("layer", "neuron", "polarity").unique()
    records = tables.records.join(sides, on=["layer", "neuron", "polarity"], how="semi")
    exemplars = firing(records, per_neuron=EXCERPTS)
    tokens = TokenBytes(tables.sequences, tables.vocabulary)
    return tuple(_described(row, exemplars, tokens) for row in rows.iter_rows(named=True))


def _described(
    row: Mapping[str, Any], exemplars: pl.DataFrame, tokens: Mapping[int, tuple[bytes, ...]]
) -> Described:
    place = {name: row[name] for name in ("layer", "neuron", "polarity")}
    own = exemplars.filter(**place)
    return Described(**{fact: row[fact] for fact in _FACTS}, excerpts=tuple(excerpts(own, tokens)))


def sides_of(neurons: Sequence[Described]) -> pl.DataFrame:
    """Return the sides of neurons that are shown, as columns layer, neuron and polarity."""
    schema = {"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8}
    return pl.DataFrame([(n.layer, n.neuron, n.polarity) for n in neurons], schema=schema, orient="row")


def without(rows: pl.DataFrame, others: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows whose neurons are in none of the others."""
    for other in others:
        rows = rows.join(other, on=["layer", "neuron", "polarity"], how="anti", maintain_order="left")
    return rows

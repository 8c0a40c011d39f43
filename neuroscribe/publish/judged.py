"""The best and the worst explanations of a run, each with its score and what its neuron really does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.corpus import token_bytes_by_sequence
from neuroscribe.publish.excerpts import Excerpt, excerpts, firing

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
    scores: pl.DataFrame,
    explanations: pl.DataFrame,
    records: pl.DataFrame,
    sequences: pl.DataFrame,
    vocabulary: pl.DataFrame,
    *,
    n: int = 3,
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
        explanations.select("explanation_id", "text"), on="explanation_id", how="left", maintain_order="left"
    )
    exemplars = _exemplars(shown, records)
    tokens = token_bytes_by_sequence(sequences, vocabulary, exemplars["sequence_id"].to_list())
    judged = [_judged(row, exemplars, tokens) for row in shown.iter_rows(named=True)]
    return tuple(judged[: len(best)]), tuple(judged[len(best) :])


def _exemplars(shown: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Return the first top exemplars of the neurons that are shown."""
    neurons = shown.select("layer", "neuron", "polarity").unique()
    own = records.join(neurons, on=["layer", "neuron", "polarity"], how="semi")
    return firing(own, per_neuron=EXCERPTS)


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

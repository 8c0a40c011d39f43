"""What an explainer may show of a neuron: training excerpts, held-out token means, output weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from neuroscribe.evidence.exemplars import (
    Neuron,
    all_time_maximum,
    banded_exemplars,
    training_exemplars,
)
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.pairs import discretised, excerpt_pairs
from neuroscribe.text.escaping import escaped
from neuroscribe.text.marks import Pair

Scale = Literal["neuron", "excerpt"]
"""What is 10 in an excerpt: the neuron's largest activation over the corpus, or the excerpt's own."""


@dataclass(frozen=True)
class ShownExcerpts:
    """Excerpts of a neuron, those of the largest peaks first, and the sequences they are from."""

    sequence_ids: tuple[int, ...]
    excerpts: tuple[tuple[Pair, ...], ...]
    peaks: tuple[int, ...] = ()
    """The place of each one's peak in its sequence."""
    strengths: tuple[int, ...] = ()
    """Each one's peak in tenths of the neuron's maximum, rounded down; at least 1 where it fires."""


def shown_excerpts(
    evidence: LayerEvidence,
    neuron: Neuron,
    count: int,
    length: int,
    draw: int = 0,
    *,
    scale: Scale = "neuron",
    bands: int = 0,
) -> ShownExcerpts:
    """Return the text around the peaks of a draw of exemplars: `length` tokens each, activations 0..10.

    After `count` top ones come `bands` from the quantile bands, which are weaker.
    """
    records = evidence.records(neuron)
    shown = [training_exemplars(records, count, draw)]
    if bands:
        shown.append(banded_exemplars(records, bands, draw))
    return excerpts_of(evidence, neuron, pl.concat(shown), length, scale=scale)


def excerpts_of(
    evidence: LayerEvidence, neuron: Neuron, shown: pl.DataFrame, length: int, *, scale: Scale = "neuron"
) -> ShownExcerpts:
    """Return the same of some rows of a neuron's records."""
    rows = list(shown.iter_rows(named=True))
    maximum = all_time_maximum(evidence.records(neuron))
    peaks = [neuron[1] * row["peak"] for row in rows]
    return ShownExcerpts(
        tuple(row["sequence_id"] for row in rows),
        tuple(
            _excerpt(evidence, row, neuron[1], maximum if scale == "neuron" else peak, length)
            for row, peak in zip(rows, peaks, strict=True)
        ),
        tuple(row["peak_position"] for row in rows),
        tuple(_tenths(peak, maximum) for peak in peaks),
    )


def _excerpt(
    evidence: LayerEvidence, row: Mapping[str, Any], polarity: int, maximum: float, length: int
) -> tuple[Pair, ...]:
    values = discretised(np.array(row["activations"]), maximum=maximum, polarity=polarity)
    place = row["peak_position"]
    return tuple(excerpt_pairs(evidence.tokens[row["sequence_id"]], values, peak=place, length=length))


def _tenths(peak: float, maximum: float) -> int:
    return max(1, int(10 * peak / maximum)) if peak > 0 else 0


OCCURRENCES: Any = Field(
    default=3, description="occurrences below which a token is left out: a mean of one or two says little"
)
"""Which tokens of the table explainers rank. Of those with the largest means, most were seen once."""


Ranking = Literal["mean", "weight"]


def ranking(default: Ranking) -> Any:
    """Return the setting of how an explainer ranks tokens."""
    return Field(
        default=default,
        description="how tokens are ranked: by their `mean`, or by their `weight`, what each contributes to a"
        " prediction, as a frequent token contributes more than a rare one of the same mean",
    )


def strongest_tokens(
    evidence: LayerEvidence, neuron: Neuron, *, count: int, occurrences: int, by: Ranking = "mean"
) -> list[str]:
    """Return the (escaped) tokens that rank first on the explained side, in that order."""
    return spelled(
        evidence,
        ranked_tokens(evidence, neuron, occurrences=occurrences, by=by)["token_id"][:count].to_list(),
    )


def ranked_tokens(evidence: LayerEvidence, neuron: Neuron, *, occurrences: int, by: Ranking) -> pl.DataFrame:
    """Return a neuron's rows of TOKEN_LOOKUP, the first in rank first.

    Tokens with fewer occurrences in the table, or without a positive mean, are left out; equal ones go by
    token id. Means are shrunken ones. The weight of a token that occurs n times is
    (mean - overall mean) sqrt(n): its square is the token's part of the variance that the table explains.
    """
    table = evidence.lookup(neuron)
    overall = (pl.col("mean") * pl.col("count")).sum() / pl.col("count").sum()
    weight = (pl.col("shrunken_mean") - overall) * pl.col("count").sqrt()
    rank = weight if by == "weight" else pl.col("shrunken_mean")
    ranked = table.with_columns(rank=rank).filter(pl.col("mean") > 0, pl.col("count") >= occurrences)
    return ranked.sort("rank", "token_id", descending=[True, False])


def promoted_tokens(evidence: LayerEvidence, neuron: Neuron, count: int) -> list[str]:
    """Return the (escaped) tokens that the neuron makes likelier when it fires on the explained side.

    By its output weights alone; a negative activation turns their sign around.
    """
    promoted = evidence.tables["connections"].filter(
        pl.col("neuron") == neuron[0], pl.col("direction") == "output_token", pl.col("sign") == neuron[1]
    )
    return spelled(evidence, promoted.sort("rank")["token_id"][:count].to_list())


def spelled(evidence: LayerEvidence, token_ids: Sequence[int]) -> list[str]:
    """Return some tokens, escaped."""
    return [escaped(evidence.tokens.of_token[token]) for token in token_ids]

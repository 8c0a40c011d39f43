"""What an explainer may show of a neuron: training excerpts, held-out token means, output weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron, all_time_maximum, training_exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.pairs import discretised, excerpt_pairs
from neuroscribe.text.escaping import escaped
from neuroscribe.text.marks import Pair


@dataclass(frozen=True)
class ShownExcerpts:
    """Excerpts of a neuron in the order of their peaks, largest first, and the sequences they are from."""

    sequence_ids: tuple[int, ...]
    excerpts: tuple[tuple[Pair, ...], ...]


def shown_excerpts(
    evidence: LayerEvidence, neuron: Neuron, count: int, length: int, draw: int = 0
) -> ShownExcerpts:
    """Return the text around the peaks of a draw of exemplars: `length` tokens each, activations 0..10."""
    return excerpts_of(evidence, neuron, training_exemplars(evidence.records(neuron), count, draw), length)


def excerpts_of(evidence: LayerEvidence, neuron: Neuron, shown: pl.DataFrame, length: int) -> ShownExcerpts:
    """Return the same of some rows of a neuron's records."""
    maximum = all_time_maximum(evidence.records(neuron))
    excerpts = [
        tuple(
            excerpt_pairs(
                evidence.tokens[row["sequence_id"]],
                discretised(pl.Series(row["activations"]).to_numpy(), maximum=maximum, polarity=neuron[1]),
                peak=row["peak_position"],
                length=length,
            )
        )
        for row in shown.iter_rows(named=True)
    ]
    return ShownExcerpts(tuple(shown["sequence_id"].to_list()), tuple(excerpts))


OCCURRENCES: Any = Field(
    default=3, description="occurrences below which a token is left out: a mean of one or two says little"
)
"""Which tokens of the table explainers rank. Of those with the largest means, most were seen once."""


Ranking = Literal["mean", "weight"]
RANKING: Any = Field(
    default="mean",
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

"""The explainer `token_detector`: the tokens of a neuron that single tokens predict, with their strengths.

Most neurons need more than a token to be told, and a list of tokens would say of them what they do not do.
So a list is an explanation only where it predicts the neuron. That is tried on the documents that the token
table was learned from, each predicted by the means of all others (leave one document out); what it is scored
on, the documents held out, has no part in it.
"""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.lookup import left_out_lookup
from neuroscribe.explain.evidence import OCCURRENCES, ranked_tokens
from neuroscribe.explain.explainer import NO_TOKEN, Before, Listing, Said
from neuroscribe.explain.token_list import each_apart
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.study.sections import Positive
from neuroscribe.text.listed_tokens import STRONGEST, graded_list, listed_as


class TokenDetector(Listing):
    """The tokens of a neuron that they predict, with strengths; no explanation of any other."""

    reads_table: ClassVar[bool] = True

    kind: Literal["token_detector"] = "token_detector"
    least: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="correlation with the neuron from which on tokens predict it"
    )
    tokens: Positive = Field(default=20, description="tokens that are named at most")
    occurrences: Positive = OCCURRENCES

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the tokens that say most of the neuron, or how little they say of it."""
        ranked = ranked_tokens(evidence, neuron, occurrences=self.occurrences, by="weight")[: self.tokens]
        if ranked.is_empty():
            return NO_TOKEN
        found, reason = _prediction(evidence, neuron, ranked["token_id"])
        if found is None or found < self.least:
            value = reason if found is None else f"r {found:.2f}".replace("0.", ".")
            return f"tokens alone do not predict it: {value}"
        strengths = _strengths(evidence, ranked)
        return Said(graded_list(strengths), each_apart(strengths))


def _prediction(evidence: LayerEvidence, neuron: Neuron, tokens: pl.Series) -> tuple[float | None, str]:
    """Return the correlation of a neuron with what some tokens predict of it, or why there is none.

    At one of these tokens it is predicted to do what it does there in the other documents, elsewhere nothing.
    """
    kept, sequences = evidence.truth(neuron), evidence.tables["corpus/sequences"]
    held_out = sequences.filter("held_out")["sequence_id"].to_numpy()
    learned = ~np.isin(kept.sequence_ids, held_out)
    ids, values = kept.sequence_ids[learned], kept.values[learned]
    if not len(ids):
        return None, "no sequence to try them on"
    places = np.array([evidence.tokens.ids[int(sequence)] for sequence in ids])
    means = left_out_lookup(places, values, evidence.documents(ids))
    predicted = np.where(np.isin(places, tokens.to_numpy()), means, 0.0)
    (estimate,) = correlations(values[None], predicted[None], Draws.all_of(1, len(ids)))
    return estimate.value, estimate.null_reason or ""


def _strengths(evidence: LayerEvidence, ranked: pl.DataFrame) -> dict[str, int]:
    """Return tokens by name, the strongest first, with their means in tenths of the largest, from 1 on.

    Tokens that differ in outer spaces alone share a name, and the mean over all that they occur.
    """
    tokens: list[int] = ranked["token_id"].to_list()
    names = [listed_as(evidence.tokens.of_token[token]) for token in tokens]
    total = pl.col("shrunken_mean") * pl.col("count")
    by_name: Any = ranked.with_columns(name=pl.Series(names, dtype=pl.String)).group_by(
        "name", maintain_order=True
    )
    means = by_name.agg(mean=total.sum() / pl.col("count").sum()).sort(
        "mean", descending=True, maintain_order=True
    )
    tenths = (STRONGEST * means["mean"] / means["mean"].max()).round().cast(pl.Int64)
    return {name: tenth for name, tenth in zip(means["name"], tenths, strict=True) if tenth}

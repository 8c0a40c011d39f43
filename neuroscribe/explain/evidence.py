"""What an explainer may know of a neuron: training exemplars, held-out token means, output weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuroscribe.evidence.exemplars import Neuron, all_time_maximum, training_exemplars
from neuroscribe.explain.prompts import Pair, discretised, excerpt_pairs
from neuroscribe.text.escaping import escaped


@dataclass(frozen=True)
class LayerEvidence:
    """What the explainers may see of one layer."""

    layer: int
    neurons: tuple[Neuron, ...]
    records: pl.DataFrame
    """The layer's NEURON_RECORDS."""
    lookup: pl.DataFrame
    """The layer's TOKEN_LOOKUP."""
    connections: pl.DataFrame
    """The layer's CONNECTIONS."""
    tokens: Mapping[int, tuple[bytes, ...]]
    """Token bytes of every sequence in `records` that is shown."""
    vocabulary: pl.DataFrame


@dataclass(frozen=True)
class ShownExcerpts:
    """Excerpts of a neuron in the order of their peaks, largest first, and the sequences they are from."""

    sequence_ids: tuple[int, ...]
    excerpts: tuple[tuple[Pair, ...], ...]


def shown_excerpts(evidence: LayerEvidence, neuron: Neuron, count: int, length: int) -> ShownExcerpts:
    """Return the text around the peaks of training exemplars: `length` tokens each, activations 0..10."""
    shown = training_exemplars(evidence.records, neuron, count)
    maximum = all_time_maximum(evidence.records, neuron)
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


def strongest_tokens(
    evidence: LayerEvidence, neuron: Neuron, *, count: int, occurrences: int = 1
) -> list[str]:
    """Return the (escaped) tokens with the largest positive means on the explained side, largest first.

    Tokens with fewer held-out occurrences are left out; equal means go by token id.
    """
    own = evidence.lookup.filter(
        pl.col("neuron") == neuron[0],
        pl.col("polarity") == neuron[1],
        pl.col("mean") > 0,
        pl.col("count") >= occurrences,
    )
    best = own.sort("mean", "token_id", descending=[True, False])["token_id"][:count]
    return _spelled(evidence, best)


def promoted_tokens(evidence: LayerEvidence, neuron: Neuron, count: int) -> list[str]:
    """Return the (escaped) tokens that the neuron makes likelier when it fires on the explained side.

    By its output weights alone; a negative activation turns their sign around.
    """
    own = evidence.connections.filter(
        pl.col("neuron") == neuron[0],
        pl.col("direction") == "output_token",
        pl.col("sign") == neuron[1],
    )
    return _spelled(evidence, own.sort("rank")["token_id"][:count])


def _spelled(evidence: LayerEvidence, tokens: pl.Series) -> list[str]:
    return [escaped(evidence.vocabulary["bytes"][token]) for token in tokens.to_list()]

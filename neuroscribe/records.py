"""The tables as data: every column's name, type and meaning, declared once.

These declarations drive the Parquet files, the Dagster column schemas and the dataset card. A layer's rows
lie in one file; anything large stays a pointer (sequence id, position, value).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from neuroscribe.errors import StoreError

if TYPE_CHECKING:
    from polars import DataType
else:
    DataType = object  # beartype, which checks these annotations in tests, refuses polars' class


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table's name, meaning, columns and the columns that identify a row."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    per_layer: bool = True

    @property
    def schema(self) -> dict[str, DataType]:
        """Column types by name, in order."""
        return {column.name: column.dtype for column in self.columns}

    def frame(self, data: Mapping[str, object] | list[dict[str, object]]) -> pl.DataFrame:
        """Build a frame with this table's columns and types; raises StoreError when they do not fit."""
        try:
            return self.checked(pl.DataFrame(data, schema=self.schema, strict=True))
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise StoreError(f"rows for table {self.name} do not fit its columns: {error}") from error

    def checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` unchanged if it has exactly these columns and no null where none may be."""
        if dict(frame.schema) != self.schema:
            raise StoreError(
                f"table {self.name} has columns {dict(frame.schema)}, but {self.schema} are declared;"
                " materialise it again with this version"
            )
        for column in self.columns:
            if not column.nullable and frame[column.name].null_count():
                raise StoreError(f"table {self.name}: column {column.name} holds nulls, which it must not")
        return frame


def _layer() -> Column:
    return Column("layer", pl.Int16(), "index of the transformer block, from 0")


def _neuron() -> Column:
    return Column("neuron", pl.Int32(), "index of the input channel of the block's MLP down-projection")


def _polarity() -> Column:
    return Column("polarity", pl.Int8(), "+1 or -1: which sign of the neuron is meant")


def _explanation_id() -> Column:
    return Column("explanation_id", pl.String(), "content hash of the explanation and how it was made")


def _sequence_id() -> Column:
    return Column("sequence_id", pl.UInt32(), "row of corpus/sequences")


def _split() -> Column:
    return Column("split", pl.String(), "train (seen by the explainer), valid (choice) or test (reported)")


_floats = pl.List(pl.Float32())

SEQUENCES = Table(
    "corpus/sequences",
    "Fixed-length windows of tokens, each within one document, in the seeded order of the study.",
    ("sequence_id",),
    (
        _sequence_id(),
        Column("document_id", pl.UInt32(), "index of the document in the text source"),
        Column("source", pl.String(), "title or file and line of the document"),
        Column("token_ids", pl.List(pl.Int32()), "token ids of the subject's tokenizer (length T)"),
    ),
    per_layer=False,
)

VOCABULARY = Table(
    "corpus/vocabulary",
    "The subject's tokens.",
    ("token_id",),
    (
        Column("token_id", pl.Int32(), "id in the subject's tokenizer"),
        Column("bytes", pl.Binary(), "the exact bytes the token stands for"),
        Column("text", pl.String(), "the token for display; bytes that are no UTF-8 appear as \\xNN"),
    ),
    per_layer=False,
)

STATISTICS = Table(
    "activations/statistics",
    "Statistics of every neuron over all tokens of the corpus.",
    ("layer", "neuron"),
    (
        _layer(),
        _neuron(),
        Column("n_tokens", pl.Int64(), "activations counted"),
        Column("mean", pl.Float64(), "mean activation"),
        Column("variance", pl.Float64(), "population variance"),
        Column("skewness", pl.Float64(), "standardised third moment; null if constant", nullable=True),
        Column(
            "kurtosis",
            pl.Float64(),
            "standardised fourth moment (3 = normal); null if constant",
            nullable=True,
        ),
        Column("min", pl.Float64(), "smallest activation"),
        Column("max", pl.Float64(), "largest activation"),
        Column("fraction_positive", pl.Float32(), "share of activations above zero"),
        Column(
            "histogram",
            pl.List(pl.Int64()),
            "counts between the metadata's neuroscribe.histogram_edges; null without capture.token_histogram",
            nullable=True,
        ),
        Column(
            "quantiles",
            _floats,
            "activation at the metadata's neuroscribe.quantile_levels, to one bin; null where histogram is",
            nullable=True,
        ),
        Column("dead", pl.Boolean(), "no activation on a studied side of zero"),
        Column(
            "near_dead",
            pl.Boolean(),
            "not dead, but active on no studied side in as many sequences as the top exemplars are",
        ),
    ),
)

NEURON_RECORDS = Table(
    "neuron_records",
    "Exemplars of every neuron: the sequences where it peaks, quantile bands, and shared random sequences.",
    ("layer", "neuron", "polarity", "kind", "rank"),
    (
        _layer(),
        _neuron(),
        _polarity(),
        Column("kind", pl.String(), "top, quantile or random"),
        Column("quantile_low", pl.Float32(), "lower bound of the band's peaks (signed)", nullable=True),
        Column("quantile_high", pl.Float32(), "upper bound of the band's peaks (signed)", nullable=True),
        Column("rank", pl.Int32(), "place within the kind, from 0"),
        _split(),
        _sequence_id(),
        Column("peak", pl.Float32(), "the sequence's largest activation (smallest, for polarity -1)"),
        Column("peak_position", pl.Int16(), "token index of the peak (the first, if several)"),
        Column("activations", _floats, "the neuron's value at each token (length T)"),
    ),
)

TOKEN_LOOKUP = Table(
    "token_lookup",
    "Mean activation per token, over sequences held out from the neuron's exemplars; sampled neurons only.",
    ("layer", "neuron", "polarity", "token_id"),
    (
        _layer(),
        _neuron(),
        _polarity(),
        Column("token_id", pl.Int32(), "row of corpus/vocabulary"),
        Column("count", pl.Int64(), "occurrences of the token in the held-out sequences"),
        Column(
            "mean", pl.Float32(), "mean activation there on the explained side (see neuroscribe/polarity.py)"
        ),
    ),
)

CONNECTIONS = Table(
    "connections",
    "What each neuron reads and writes, by weight: tokens and neurons with the largest strengths.",
    ("layer", "neuron", "direction", "sign", "rank"),
    (
        _layer(),
        _neuron(),
        Column("direction", pl.String(), "input_token, output_token, upstream_neuron or downstream_neuron"),
        Column("sign", pl.Int8(), "+1 for the most positive strengths, -1 for the most negative"),
        Column("rank", pl.Int32(), "place by size of the strength, from 0"),
        Column("token_id", pl.Int32(), "the token, for token directions", nullable=True),
        Column("other_layer", pl.Int16(), "the other neuron's layer, for neuron directions", nullable=True),
        Column("other_neuron", pl.Int32(), "the other neuron, for neuron directions", nullable=True),
        Column("strength", pl.Float32(), "weight along the residual stream; see neuroscribe/connections.py"),
    ),
)

EXPLANATIONS = Table(
    "explanations",
    "Explanations with everything that led to them; refusals and failures are rows too.",
    ("explanation_id",),
    (
        _explanation_id(),
        _layer(),
        _neuron(),
        _polarity(),
        Column("text", pl.String(), "the explanation; null unless status is ok", nullable=True),
        Column("status", pl.String(), "ok, refused, unparsable or failed"),
        Column("explainer", pl.String(), "name of the explainer in the study"),
        Column("model", pl.String(), "model and revision; `none` for explainers without an LLM"),
        Column("prompt_sha256", pl.String(), "hash of the prompt, which lies in the call store"),
        Column("sample_index", pl.Int32(), "candidate number, from 0"),
        Column("sequence_ids", pl.List(pl.UInt32()), "sequences the explainer saw"),
        Column("prompt_tokens", pl.Int64(), "tokens sent"),
        Column("completion_tokens", pl.Int64(), "tokens received"),
        Column("cost_usd", pl.Float64(), "money spent; null when the price is unknown", nullable=True),
        Column("raw_response", pl.String(), "the reply as received"),
    ),
)

SIMULATIONS = Table(
    "simulations",
    "Simulated activations per explanation and sequence; rows whose neuron is not the explanation's own are"
    " the shuffled control.",
    ("explanation_id", "simulator", "neuron", "polarity", "sequence_id"),
    (
        _explanation_id(),
        Column("neuron", pl.Int32(), "the neuron whose exemplar the sequence is"),
        _polarity(),
        _sequence_id(),
        _split(),
        Column("simulated", _floats, "expected activation per token, 0..10 (length T)"),
        Column("valid_fraction", pl.Float32(), "probability mass on valid values", nullable=True),
        Column("simulator", pl.String(), "name of the simulator in the study"),
        Column("model", pl.String(), "model, revision and prompt version"),
    ),
)

SCORES = Table(
    "scores",
    "Agreement of simulation and truth, one row per explanation, scorer, split and regime.",
    ("explanation_id", "scorer", "split", "regime"),
    (
        _explanation_id(),
        _layer(),
        _neuron(),
        _polarity(),
        Column("explainer", pl.String(), "name of the explainer in the study"),
        Column("scorer", pl.String(), "measure and simulator, as in correlation_all_at_once"),
        _split(),
        Column("regime", pl.String(), "top_and_random or random_only"),
        Column("value", pl.Float64(), "Pearson correlation over all tokens, in [-1, 1]", nullable=True),
        Column("ci_low", pl.Float64(), "2.5 % bound of the bootstrap over sequences", nullable=True),
        Column("ci_high", pl.Float64(), "97.5 % bound of the bootstrap over sequences", nullable=True),
        Column("n_sequences", pl.Int32(), "sequences scored"),
        Column("n_tokens", pl.Int32(), "tokens scored"),
        Column("ceiling", pl.Float64(), "the same for the direct token-lookup table", nullable=True),
        Column("control", pl.Float64(), "the same for another neuron's explanation", nullable=True),
        Column("null_reason", pl.String(), "why there is no value", nullable=True),
        Column("chosen", pl.Boolean(), "the best candidate on valid (or the only one)"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SEQUENCES, VOCABULARY, STATISTICS, NEURON_RECORDS, TOKEN_LOOKUP, CONNECTIONS,
        EXPLANATIONS, SIMULATIONS, SCORES,
    )
}  # fmt: skip

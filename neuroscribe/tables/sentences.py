"""Sentences that were written from explanations, and what neurons do on them."""

import polars as pl

from neuroscribe.tables.columns import EXPLANATION_ID, POLARITY, USAGE, Column, Table
from neuroscribe.tables.statuses import READING_STATUSES

NO_PHRASES = "no_phrases"
SENTENCE_STATUSES = (*READING_STATUSES, "repeated", NO_PHRASES)
"""What becomes of a sentence; only one that is `ok` counts.

- `repeated`: the same sentence stands before it in the list
- `no_phrases`: the explanation is a description, which templates cannot fill in
- others: of the call that should have written it
"""

SENTENCES = Table(
    "sentences",
    "Sentences written from explanations, and the neuron's peak in each, one row per explanation, scorer,"
    " neuron and sentence; rows whose neuron is not the explanation's own are controls.",
    ("explanation_id", "scorer", "neuron", "polarity", "item"),
    (
        EXPLANATION_ID.made_from(("explanations", "explanation_id")),
        Column("scorer", pl.String(), "name of the scorer in the study"),
        Column("neuron", pl.Int32(), "the neuron that was watched"),
        POLARITY,
        Column("item", pl.Int32(), "number of the sentence among those of the explanation, from 0"),
        Column("text", pl.String(), "the sentence; null where there is none", nullable=True).made_from(
            ("explanations", "text"), ("explanations", "parts")
        ),
        Column(
            "phrase",
            pl.String(),
            "the token or phrase that a template was filled with; null where an LLM wrote the sentence",
            nullable=True,
        ),
        Column("n_tokens", pl.Int32(), "tokens of it that the subject read, at most corpus.sequence_length"),
        Column(
            "peak",
            pl.Float32(),
            "the neuron's largest activation in the sentence on the explained side",
            nullable=True,
        ),
        Column(
            "fires",
            pl.Boolean(),
            "whether that is as much as makes it count as firing; null without a sentence",
            nullable=True,
        ).made_from(("neuron_records", "peak")),
        Column("status", pl.String(), "ok, or why there is no sentence that counts: see SENTENCE_STATUSES"),
        *USAGE,
        Column("model", pl.String(), "model, revision and wording; `none` for templates"),
    ),
)

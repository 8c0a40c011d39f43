"""Which of several options a judge chose: continuations that belong to a label, excerpts that do not."""

import polars as pl

from neuroscribe.tables.columns import POLARITY, SPLIT, USAGE, Column, Table

CHOICES = Table(
    "choices",
    "Answers to the question which of several options is the one that is asked for, one row per question;"
    " where it is asked under an explanation of another neuron, the row is a control.",
    ("scorer", "explanation_id", "neuron", "polarity", "split", "trial"),
    (
        Column("scorer", pl.String(), "name of the scorer in the study"),
        Column(
            "explanation_id",
            pl.String(),
            "the explanation that the question names; null where it names none",
            nullable=True,
        ).made_from(("explanations", "explanation_id")),
        Column("neuron", pl.Int32(), "the neuron that the right option is of"),
        POLARITY,
        SPLIT,
        Column("trial", pl.Int32(), "number of the question about this neuron on this split, from 0"),
        Column(
            "options",
            pl.List(pl.String()),
            "what was shown, in the order of the question; each scorer says what names an option",
        ),
        Column("right", pl.Int8(), "place among the options of the one that is asked for, from 0"),
        Column(
            "chosen",
            pl.Int8(),
            "place among the options of the one that was chosen; null without a readable answer",
            nullable=True,
        ).made_from(("explanations", "text")),
        Column("status", pl.String(), "ok, or why there is no answer: see READING_STATUSES"),
        *USAGE,
        Column("model", pl.String(), "model, revision and prompt version"),
    ),
)

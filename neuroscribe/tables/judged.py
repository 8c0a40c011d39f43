"""What scorers beside the simulators found: judges' answers, and ablations of the subject."""

import polars as pl

from neuroscribe.tables.columns import EXPLANATION_ID, POLARITY, SEQUENCE_ID, SPLIT, USAGE, Column, Table

JUDGEMENTS = Table(
    "judgements",
    "Answers to the question whether an excerpt fits an explanation, one row per explanation, scorer and"
    " excerpt; rows whose neuron is not the explanation's own are the shuffled control.",
    ("explanation_id", "scorer", "neuron", "polarity", "sequence_id", "item"),
    (
        EXPLANATION_ID.made_from(("explanations", "explanation_id")),
        Column("neuron", pl.Int32(), "the neuron on whose excerpts the question was asked"),
        POLARITY,
        Column("scorer", pl.String(), "name of the scorer in the study"),
        SEQUENCE_ID.made_from(("neuron_records", "sequence_id")),
        SPLIT.made_from(("neuron_records", "split")),
        Column("item", pl.Int32(), "number of the excerpt among those of its sequence, from 0"),
        Column("start", pl.Int16(), "the excerpt's first token in the sequence"),
        Column("stop", pl.Int16(), "the token after its last one"),
        Column("marked", pl.List(pl.Int16()), "tokens of the sequence that were marked, for fuzzing"),
        Column(
            "kind",
            pl.String(),
            "why the excerpt was chosen: firing, random, same_token, near_text or other_tokens",
        ),
        Column("label", pl.Boolean(), "whether the neuron fires there (on the marked tokens)").made_from(
            ("neuron_records", "activations")
        ),
        Column(
            "probability",
            pl.Float32(),
            "how likely the judge holds that it does; for retrieval the cosine similarity",
            nullable=True,
        ),
        Column(
            "answer", pl.Boolean(), "what the judge said; null without a readable answer", nullable=True
        ).made_from(("explanations", "text"), ("corpus", "token_ids")),
        Column("status", pl.String(), "ok, or why there is no answer: see READING_STATUSES"),
        *USAGE,
        Column("model", pl.String(), "model, revision and prompt version"),
    ),
)

ABLATIONS = Table(
    "ablations",
    "How far the subject's predictions move when a neuron is replaced by its simulation, and by its mean;"
    " rows whose neuron is not the explanation's own are the shuffled control.",
    ("explanation_id", "simulator", "neuron", "polarity", "sequence_id"),
    (
        EXPLANATION_ID.made_from(("simulations", "explanation_id")),
        Column("neuron", pl.Int32(), "the neuron that was replaced"),
        POLARITY,
        SEQUENCE_ID.made_from(("simulations", "sequence_id")),
        SPLIT,
        Column("simulator", pl.String(), "name of the simulator in the study"),
        Column(
            "simulated_divergence", pl.Float64(), "mean Jensen-Shannon divergence per token, in nats"
        ).made_from(("simulations", "simulated"), ("corpus", "token_ids")),
        Column("mean_divergence", pl.Float64(), "the same with the neuron's mean activation").made_from(
            ("activations", "mean"), ("sampled_activations", "activations"), ("corpus", "token_ids")
        ),
    ),
)

"""What neurons do: how predictions change, and what the subject says, when one is held far up."""

import polars as pl

from neuroscribe.tables.columns import LAYER, NEURON, POLARITY, Column, Table

EFFECTS = Table(
    "effects",
    "What the sampled neurons do to the next token: each held at a large activation on openings of sequences,"
    " the tokens that become likelier and less likely, and what the subject says then.",
    ("layer", "neuron", "polarity", "kind", "rank"),
    (
        LAYER,
        NEURON,
        POLARITY,
        Column(
            "kind",
            pl.String(),
            "promoted or suppressed (a token that becomes likelier, or less likely), or continuation (of an"
            " opening)",
        ),
        Column("rank", pl.Int32(), "place by size of the change, or number of the opening, from 0"),
        Column("token_id", pl.Int32(), "the token whose probability changes", nullable=True).made_from(
            ("corpus", "token_id")
        ),
        Column(
            "change",
            pl.Float32(),
            "mean change of its log-probability (natural log) over all tokens of the openings that are read"
            " for tokens",
            nullable=True,
        ),
        Column(
            "sequence_id", pl.UInt32(), "the sequence whose opening is continued", nullable=True
        ).made_from(("corpus", "sequence_id")),
        Column(
            "token_ids",
            pl.List(pl.Int32()),
            "what the subject says after the opening with the neuron amplified",
            nullable=True,
        ),
        Column(
            "plain_token_ids",
            pl.List(pl.Int32()),
            "what it says when it is left alone",
            nullable=True,
        ),
        Column("amplified", pl.Float32(), "the activation at which the neuron was held (signed)").made_from(
            ("activations", "min"), ("activations", "max")
        ),
        Column(
            "divergence",
            pl.Float32(),
            "mean Kullback-Leibler divergence, in nats, of the predictions then from those without, on the"
            " openings that are read for tokens",
        ),
    ),
)

"""How well a neuron's tokens alone predict it, of all neurons of a layer."""

import polars as pl

from neuroscribe.tables.columns import LAYER, NEURON, POLARITY, Column, Table

PREDICTABILITY = Table(
    "predictability",
    "How well the tokens alone predict each neuron on exemplars that nothing was learned from; those that"
    " they predict best are the urn of the recognisable neurons (sample.recognisable).",
    ("layer", "neuron", "polarity"),
    (
        LAYER,
        NEURON,
        POLARITY,
        Column(
            "predicted",
            pl.Float64(),
            "correlation of the activations on the exemplars of `test` with the mean activation of the same"
            " token on those of `train` and `valid`; null where one of both does not vary",
            nullable=True,
        ).made_from(("neuron_records", "activations"), ("corpus", "token_ids")),
        Column("n", pl.Int32(), "exemplars of `test` that it was told from"),
    ),
)

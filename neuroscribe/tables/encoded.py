"""The table of the sentence encoders, declared as those of `records`: kept for simulators, not published."""

import polars as pl

from neuroscribe.tables.columns import SEQUENCE_ID, Column, Table

ENCODED_CORPUS = Table(
    "encoded_corpus",
    "Every sequence by every sentence encoder of the study: a vector for each piece, in context.",
    ("encoder", "sequence_id"),
    (
        Column("encoder", pl.String(), "model, revision and dtype of the encoder"),
        SEQUENCE_ID.made_from(("corpus", "sequence_id")),
        Column(
            "first_piece",
            pl.List(pl.Int32()),
            "first piece that has a character of the token, from 0; -1 where none has (length T)",
        ).made_from(("corpus", "token_ids")),
        Column(
            "last_piece", pl.List(pl.Int32()), "last such piece; -1 where there is none (length T)"
        ).made_from(("corpus", "token_ids")),
        Column("features", pl.Int32(), "length of a vector"),
        Column(
            "vectors", pl.Binary(), "float16, little-endian: unit-length vectors, piece after piece"
        ).made_from(("corpus", "token_ids"), ("corpus", "bytes")),
    ),
    per_layer=False,
    published=False,
)

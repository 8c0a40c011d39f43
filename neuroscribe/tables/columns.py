"""What a table is: its columns with names, types and meanings, and how rows are checked against them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from neuroscribe.errors import StoreError

if TYPE_CHECKING:
    from polars import DataType
else:
    DataType = object  # beartype, which checks these annotations in tests, refuses polars' class


Source = tuple[str, str]
"""A stage and a column of one of its tables."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: DataType
    description: str
    nullable: bool = False
    sources: tuple[Source, ...] = ()
    """The columns that it is made from; those of stages that a study lacks count for nothing."""

    def made_from(self, *sources: Source) -> "Column":
        """Return the column with what it is made from."""
        return replace(self, sources=sources)


@dataclass(frozen=True)
class Table:
    """A table's name, meaning, columns and the columns that identify a row."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    per_layer: bool = True
    published: bool = True
    """Whether a dataset holds it; not what is large and follows from the rest."""

    @property
    def schema(self) -> dict[str, DataType]:
        """Column types by name, in order."""
        return {column.name: column.dtype for column in self.columns}

    def frame(self, data: Mapping[str, object] | list[dict[str, object]]) -> pl.DataFrame:
        """Build a frame with this table's columns and types; raises StoreError when they do not fit."""
        try:
            return self.checked(pl.DataFrame(data, schema=self.schema, strict=True))
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
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


LAYER = Column("layer", pl.Int16(), "index of the transformer block, from 0")
NEURON = Column("neuron", pl.Int32(), "index of the neuron within its layer, from 0")
POLARITY = Column("polarity", pl.Int8(), "+1 or -1: which sign of the neuron is meant")
RANDOM, RECOGNISABLE = "random", "recognisable"
"""How a neuron came into the sample; in no mean are others than the random ones."""
SAMPLE = Column(
    "sample",
    pl.String(),
    "random: drawn by seed alone, and so in every mean; recognisable: drawn among neurons whose tokens"
    " predict them, shown beside and in no mean",
)
EXPLANATION_ID = Column("explanation_id", pl.String(), "content hash of the explanation and how it was made")
SEQUENCE_ID = Column("sequence_id", pl.UInt32(), "row of corpus/sequences")
SPLIT = Column("split", pl.String(), "train (seen by the explainer), valid (choice) or test (reported)")
USAGE = (
    Column("prompt_tokens", pl.Int64(), "tokens sent"),
    Column("cached_tokens", pl.Int64(), "of these, tokens that the server had in its cache"),
    Column("completion_tokens", pl.Int64(), "tokens received"),
    Column("cost_usd", pl.Float64(), "money spent; null when the price is unknown", nullable=True),
)
"""What a call took."""
FLOATS = pl.List(pl.Float32())

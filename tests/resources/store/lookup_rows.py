"""Rows of a token lookup, of which stores keep a file per layer."""

import polars as pl

from neuroscribe.tables.records import TOKEN_LOOKUP
from neuroscribe.testing.rows import filled


def lookup(layer: int, rows: int = 1) -> pl.DataFrame:
    """One row per neuron."""
    return filled(TOKEN_LOOKUP, *({"layer": layer, "neuron": neuron} for neuron in range(rows)))

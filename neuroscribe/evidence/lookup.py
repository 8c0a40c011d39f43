"""Reads the token-lookup table: a neuron's mean activation per token."""

import numpy as np
import polars as pl
from jaxtyping import Float, Int


def looked_up(
    table: pl.DataFrame, tokens: Int[np.ndarray, "sequence token"]
) -> Float[np.ndarray, "sequence token"]:
    """Return one neuron's table, sorted by token, read at each token.

    Tokens it lacks get the mean over all occurrences; an empty table gives NaN.
    """
    ids, means = table["token_id"].to_numpy(), table["mean"].to_numpy().astype(np.float64)
    if not len(ids):
        return np.full(tokens.shape, np.nan)
    fallback = np.average(means, weights=table["count"].to_numpy())
    place = np.searchsorted(ids, tokens).clip(max=len(ids) - 1)
    return np.where(ids[place] == tokens, means[place], fallback)


def extreme_tokens(table: pl.DataFrame, *, count: int, at_least: int) -> pl.DataFrame:
    """Return the tokens with the largest and smallest means of each neuron and polarity of a table.

    The columns are those of the table and `end`: `top`, largest first, or `bottom`, smallest first. Tokens
    that occur fewer than `at_least` times are left out, for their means are single readings.
    """
    ordered = table.filter(pl.col("count") >= at_least).sort("mean", "token_id", descending=[True, False])
    ends = {"top": ordered, "bottom": ordered.sort("mean", "token_id")}
    parts = [
        rows.group_by("neuron", "polarity", maintain_order=True).head(count).with_columns(end=pl.lit(end))
        for end, rows in ends.items()
    ]
    order = pl.col("end").is_in(["bottom"])
    extremes = pl.concat(parts).select(*table.columns, "end")
    return extremes.sort("neuron", "polarity", order, descending=[False, True, False], maintain_order=True)

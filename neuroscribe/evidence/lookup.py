"""What a neuron's tokens alone let one expect of it: its mean activation per token."""

import numpy as np
import polars as pl
from jaxtyping import Float, Int

_ROUNDING = 1e-12
"""Of a sum of sizes, what is left when a part is taken out of it and the rest is nothing."""


def left_out_lookup(
    tokens: Int[np.ndarray, "sequence token"],
    values: Float[np.ndarray, "sequence token"],
    documents: Int[np.ndarray, " sequence"],
) -> Float[np.ndarray, "sequence token"]:
    """Return for each token of a sequence the mean of its values in all other documents.

    `values` are one neuron's explained side. What a token's mean is learned from and what is predicted never
    share a document, and no more than that is held out: leave-one-document-out, after the token lookup of
    Bills et al. 2023. A token that no other document holds gets the mean over all tokens of the others; NaN
    where there is no other document.
    """
    if not values.size:
        return np.zeros(values.shape)
    token_of, n_tokens = _numbered(tokens)
    row_of, n_documents = _numbered(documents)
    document_of = np.broadcast_to(row_of[:, None], values.shape)
    pair_of, n_pairs = _numbered(token_of * n_documents + document_of)
    means = _mean_of_others(values, (token_of, n_tokens), (pair_of, n_pairs))
    everything = (np.zeros_like(token_of), 1)
    fallback = _mean_of_others(values, everything, (document_of, n_documents))
    return np.where(np.isnan(means), fallback, means)


_Groups = tuple[Int[np.ndarray, "sequence token"], int]
"""The group that each token is in, and the number of groups."""


def _numbered(keys: Int[np.ndarray, "*shape"]) -> tuple[Int[np.ndarray, "*shape"], int]:
    """Return which of the distinct keys stands where, and how many there are."""
    distinct, places = np.unique(keys, return_inverse=True)
    return places.reshape(keys.shape), len(distinct)


def _mean_of_others(
    values: Float[np.ndarray, "sequence token"], whole: _Groups, own: _Groups
) -> Float[np.ndarray, "sequence token"]:
    """Return the mean over the rest of each token's group, its own part taken out; NaN where none is left."""

    def rest(weights: Float[np.ndarray, "sequence token"]) -> Float[np.ndarray, "sequence token"]:
        total, part = (np.bincount(at.ravel(), weights.ravel(), size)[at] for at, size in (whole, own))
        return total - part

    count, total, sizes = rest(np.ones(values.shape)), rest(values), np.abs(values).sum()
    # A rest of nothing but rounding would make a constant prediction look as if it varied.
    total[np.abs(total) <= _ROUNDING * sizes] = 0.0
    return np.divide(total, count, out=np.full(values.shape, np.nan), where=count > 0)


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

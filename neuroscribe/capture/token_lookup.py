"""The direct token-lookup table: a neuron's mean activation per token, for explainers that are shown tokens.

Source: Bills et al. 2023, token lookup table baseline. It is learned from the documents that are not held
out, so that an explanation made from it can be scored on those that are. Means of rare tokens are mostly
chance; `shrunken_mean` is what a ranking should go by.
"""

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from neuroscribe.evidence.exemplars import explained_side
from neuroscribe.tables.records import TOKEN_LOOKUP


def token_lookup(
    sampled: pl.DataFrame, sequences: pl.DataFrame, layer: int, polarities: tuple[int, ...]
) -> pl.DataFrame:
    """Return one row per neuron, polarity and token that occurs in documents that are not held out.

    `sampled` is a layer's SAMPLED_ACTIVATIONS; sequences that were not kept teach nothing.
    """
    learned = sequences.filter(~pl.col("held_out")).select("sequence_id", "token_ids")
    rows = sampled.select("neuron", "sequence_id", "activations").join(
        learned, on="sequence_id", maintain_order="left"
    )
    parts = [
        _rows(own, layer, int(key[0]), polarity, polarities)
        for key, own in rows.partition_by("neuron", as_dict=True).items()
        for polarity in polarities
    ]
    table = pl.concat([TOKEN_LOOKUP.frame([]), *parts])
    return table.sort("neuron", "polarity", "token_id", descending=[False, True, False])


def _rows(
    rows: pl.DataFrame, layer: int, neuron: int, polarity: int, polarities: tuple[int, ...]
) -> pl.DataFrame:
    """Return one neuron's table for one polarity."""
    distinct, places = np.unique(rows["token_ids"].explode().to_numpy(), return_inverse=True)
    raw = rows["activations"].explode().to_numpy().astype(np.float64)
    values = explained_side(raw, polarity, polarities)
    count, mean = _means(places, values)
    return TOKEN_LOOKUP.frame(
        {
            "layer": np.full(len(distinct), layer, dtype=np.int16),
            "neuron": np.full(len(distinct), neuron, dtype=np.int32),
            "polarity": np.full(len(distinct), polarity, dtype=np.int8),
            "token_id": distinct.astype(np.int32),
            "count": count,
            "mean": mean.astype(np.float32),
            "shrunken_mean": shrunken_means(places, values).astype(np.float32),
        }
    )


def _means(
    places: Int[np.ndarray, " occurrence"], values: Float[np.ndarray, " occurrence"]
) -> tuple[Int[np.ndarray, " token"], Float[np.ndarray, " token"]]:
    """Return how often each token occurs, and the mean of its values."""
    count = np.bincount(places)
    return count, np.bincount(places, values) / count


def shrunken_means(
    places: Int[np.ndarray, " occurrence"], values: Float[np.ndarray, " occurrence"]
) -> Float[np.ndarray, " token"]:
    """Return each token's mean drawn towards the mean over all occurrences, the more, the rarer it is.

    `places` number the tokens from 0 without a gap. Of token t with n_t occurrences and mean m_t, where m is
    the mean of all N occurrences of all K tokens:

        shrunken mean = (n_t m_t + k m) / (n_t + k),   k = within / between

    `within` is the variance of occurrences about their token's mean, W / (N - K) with W the sum of squares;
    `between` that of the tokens' own means, (B / (K - 1) - within) / n0 with B = sum n_t (m_t - m)^2 and
    n0 = (N - sum n_t^2 / N) / (K - 1). This is empirical Bayes for a one-way random-effects model with the
    moment estimates of the analysis of variance (Searle, Casella and McCulloch 1992, Variance Components),
    in the manner of James and Stein 1961. Where the tokens' means differ by no more than chance, or nothing
    occurs twice, every token gets m.
    """
    count, mean = _means(places, values)
    every, tokens, overall = len(values), len(count), values.mean()
    alike = np.full(tokens, overall)
    if every == tokens or tokens == 1:
        return alike
    within = ((values - mean[places]) ** 2).sum() / (every - tokens)
    spread = (count * (mean - overall) ** 2).sum() / (tokens - 1)
    usual_count = (every - (count**2).sum() / every) / (tokens - 1)
    between = (spread - within) / usual_count
    if between <= 0:
        return alike
    k = within / between
    return (count * mean + k * overall) / (count + k)

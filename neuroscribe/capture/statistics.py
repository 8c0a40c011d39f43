"""Turns a layer's running state into the table of statistics."""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.capture.state import LayerState
from neuroscribe.tables.records import STATISTICS
from neuroscribe.tables.scales import QUANTILE_LEVELS, histogram_edges

_ABOVE_ZERO = 1e-300
"""Stands for the smallest share that is not 0."""


def layer_statistics(
    state: LayerState, layer: int, *, polarities: tuple[int, ...], top_k: int
) -> pl.DataFrame:
    """Return one row per neuron: moments, extremes, histogram and quantiles over all tokens.

    Moments are central and standardised (population formulae); skewness and kurtosis are null for a
    constant neuron. Quantiles are read from the histogram, exact to one bin: half an octave, but all that is
    left within 2^-20 of zero, and all that is left beyond 2^15. Both are null where the capture has left the
    histogram out.
    """
    tokens = state.sequences * state.top_vector.shape[-1]
    low, high = state.extremes.double().numpy()
    constant = low == high
    mean, variance, skewness, kurtosis = _moments(state.totals(), state.pivot.numpy(), tokens, constant)
    neurons = len(mean)
    dead = ~np.any([high > 0 if polarity > 0 else low < 0 for polarity in polarities], axis=0)
    # On every studied side it fires in fewer sequences than the top k holds.
    least = state.top_value[:, :, :top_k].numpy().min(axis=2)
    fires_rarely = (least <= 0).all(axis=0)
    return STATISTICS.frame(
        {
            "layer": np.full(neurons, layer, dtype=np.int16),
            "neuron": np.arange(neurons, dtype=np.int32),
            "n_tokens": np.full(neurons, tokens, dtype=np.int64),
            "mean": mean,
            "variance": variance,
            "skewness": pl.Series(skewness, nan_to_null=True),
            "kurtosis": pl.Series(kurtosis, nan_to_null=True),
            "min": low,
            "max": high,
            "fraction_positive": (state.positive.numpy() / tokens).astype(np.float32),
            **_distribution(state.histogram.numpy(), low, high),
            "dead": dead,
            "near_dead": ~dead & fires_rarely,
        }
    )


def quantile_bounds(
    histogram: Int[np.ndarray, "neuron bin"],
    levels: tuple[float, ...],
    edges: list[float],
    *,
    low: Float[np.ndarray, " neuron"],
    high: Float[np.ndarray, " neuron"],
) -> Float[np.ndarray, "neuron level"]:
    """Return, per neuron, the values below which the given shares of a histogram lie.

    `low` and `high` bound what was counted. Within a bin, or what of it lies between these, the counts are
    taken to be spread evenly; the outermost bins have no other ends. Level 0 gives the lower end of the first
    bin that holds anything.
    """
    ends = np.array([-np.inf, *edges[1:-1], np.inf])
    shares = np.cumsum(histogram, axis=1, dtype=np.int64) / histogram.sum(axis=1, keepdims=True)
    bounds = np.empty((len(histogram), len(levels)))
    for column, level in enumerate(levels):
        place = (shares < max(level, _ABOVE_ZERO)).sum(axis=1).clip(max=histogram.shape[1] - 1)
        rows = np.arange(len(histogram))
        before = np.where(place > 0, shares[rows, place - 1], 0.0)
        inside = (level - before) / np.maximum(shares[rows, place] - before, _ABOVE_ZERO)
        start, stop = ends[place].clip(low, high), ends[place + 1].clip(low, high)
        bounds[:, column] = start + inside.clip(0, 1) * (stop - start)
    return bounds


def _moments(
    sums: Float[np.ndarray, "4 neuron"],
    pivot: Float[np.ndarray, " neuron"],
    count: int,
    constant: Bool[np.ndarray, " neuron"],
) -> tuple[Float[np.ndarray, " neuron"], ...]:
    """Shift raw moments about the pivot to central ones; NaN where the neuron is constant."""
    m1, m2, m3, m4 = sums / count
    variance = np.where(constant, 0.0, np.maximum(m2 - m1**2, 0.0))
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    spread = np.where(variance > 0, variance, np.nan)
    return pivot + m1, variance, third / spread**1.5, fourth / spread**2


def _distribution(
    histogram: Int[np.ndarray, "neuron bin"],
    low: Float[np.ndarray, " neuron"],
    high: Float[np.ndarray, " neuron"],
) -> dict[str, pl.Series]:
    """Return the columns that the histogram gives, null where there is none."""
    counts = quantiles = [None] * len(histogram)
    if histogram.shape[1]:
        bounds = quantile_bounds(histogram, QUANTILE_LEVELS, histogram_edges(), low=low, high=high)
        counts, quantiles = list(histogram), list(bounds.astype(np.float32))
    return {
        "histogram": pl.Series(counts, dtype=pl.List(pl.Int64)),
        "quantiles": pl.Series(quantiles, dtype=pl.List(pl.Float32)),
    }

"""The correlation score: agreement of simulated and true activations, with its interval.

Bills et al. 2023: Pearson correlation over the concatenated tokens of all scored sequences (not a mean of
per-sequence correlations), on raw simulated values, so that a prediction of the opposite scores negative.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_TINY = 1e-12
"""Spread, relative to size, below which values count as constant: rounding, not signal."""


@dataclass(frozen=True)
class Correlation:
    """A correlation with its bootstrap interval, or the reason why there is none."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    null_reason: str | None


def correlation(
    truth: Float[np.ndarray, "sequence token"],
    simulated: Float[np.ndarray, "sequence token"],
    *,
    samples: int,
    seed: int,
) -> Correlation:
    """Return the pooled Pearson correlation; `samples` bootstrap draws of whole sequences give the interval.

    The interval holds the middle 95 % of the draws whose correlation is defined; it is None with fewer than
    two sequences. The value is None for no sequences, unreadable simulations and constant values.
    """
    if not truth.size:
        return Correlation(None, None, None, "no sequences to score on")
    if not np.isfinite(simulated).all():
        missing = int((~np.isfinite(simulated)).sum())
        return Correlation(None, None, None, f"no readable value at {missing} of {simulated.size} tokens")
    for name, values in (("truth", truth), ("simulation", simulated)):
        if np.ptp(values) <= _TINY * np.abs(values).max():
            return Correlation(None, None, None, f"constant {name}")
    sums = _sums(truth - truth.mean(), simulated - simulated.mean())
    value = float(_pearson(sums.sum(0)))
    if len(truth) < 2 or samples == 0:
        return Correlation(value, None, None, None)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=samples)
    draws = _pearson(weights @ sums)
    low, high = np.nanquantile(draws, (0.025, 0.975)) if np.isfinite(draws).any() else (value, value)
    return Correlation(value, min(float(low), value), max(float(high), value), None)


def _sums(
    x: Float[np.ndarray, "sequence token"], y: Float[np.ndarray, "sequence token"]
) -> Float[np.ndarray, "sequence 6"]:
    """Return per sequence n, Σx, Σy, Σxx, Σyy, Σxy of values about their overall means."""
    n = np.full(len(x), x.shape[1], dtype=np.float64)
    return np.stack([n, x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], axis=1)


def _pearson(sums: Float[np.ndarray, "*draw 6"]) -> Float[np.ndarray, "*draw"]:
    """Return the correlation from pooled sums, NaN where a side is constant."""
    n, sx, sy, sxx, syy, sxy = np.moveaxis(sums, -1, 0)
    vx, vy = sxx - sx * sx / n, syy - sy * sy / n
    defined = (vx > _TINY * sxx) & (vy > _TINY * syy)
    scale = np.sqrt(np.where(defined, vx * vy, 1.0))
    return np.where(defined, ((sxy - sx * sy / n) / scale).clip(-1, 1), np.nan)

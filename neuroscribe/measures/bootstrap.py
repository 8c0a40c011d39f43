"""Values with bootstrap intervals, for many neurons at once: everything is computed from additive sums.

A measure is a function of sums over units (sequences, or excerpts): a bootstrap draw weights the units, so
that its sums are one matrix product, whatever the units hold (percentile bootstrap, Efron 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Measure = Callable[[Float[np.ndarray, "*shape sum"]], Float[np.ndarray, "*shape"]]
"""From pooled sums to a value, NaN where there is none."""

_CHUNK_BYTES = 4 * 2**20
"""Memory for the sums of the draws in work."""
_LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval, or the reason why there is none."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    null_reason: str | None

    @classmethod
    def missing(cls, reason: str) -> "Estimate":
        """Return no value, with the reason."""
        return cls(None, None, None, reason)


def estimates(
    sums: Float[np.ndarray, "neuron unit sum"],
    measure: Measure,
    reasons: Sequence[str | None],
    *,
    samples: int,
    seed: int,
) -> list[Estimate]:
    """Return each neuron's value and interval; where `reasons` has a text, that and no value.

    The interval is the middle 95 % of `samples` draws of whole units, of those whose value is defined,
    stretched to hold the value itself; there is none with fewer than two units or without samples. The draws
    follow from the seed and the number of units alone.
    """
    values = measure(sums.sum(1))
    estimated = [
        Estimate(float(value), None, None, None) if reason is None else Estimate.missing(reason)
        for value, reason in zip(values, reasons, strict=True)
    ]
    known = [place for place, reason in enumerate(reasons) if reason is None]
    if samples and sums.shape[1] >= 2:
        low, high = _intervals(sums[known], measure, values[known], samples=samples, seed=seed)
        for place, least, most in zip(known, low, high, strict=True):
            estimated[place] = Estimate(float(values[place]), float(least), float(most), None)
    return estimated


def _intervals(
    sums: Float[np.ndarray, "neuron unit sum"],
    measure: Measure,
    values: Float[np.ndarray, " neuron"],
    *,
    samples: int,
    seed: int,
) -> tuple[Float[np.ndarray, " neuron"], Float[np.ndarray, " neuron"]]:
    neurons, units, parts = sums.shape
    weights = draw_weights(units, samples=samples, seed=seed)
    size = max(1, _CHUNK_BYTES // (8 * samples * parts))
    bounds = [np.zeros((2, 0))]
    for first in range(0, neurons, size):
        # Sums are additive over units, so those of a draw are the units' sums, each as often as it was drawn.
        draws = measure(weights @ sums[first : first + size])
        bounds.append(_quantiles(draws, values[first : first + size]))
    low, high = np.concatenate(bounds, axis=1)
    # A percentile interval need not hold the value around which it is drawn.
    return np.minimum(low, values), np.maximum(high, values)


def draw_weights(units: int, *, samples: int, seed: int) -> Float[np.ndarray, "draw unit"]:
    """Return how often each unit is in each bootstrap draw."""
    # Drawing n of n units with replacement, and counting how often each came, is one multinomial draw.
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=samples)
    return drawn.astype(np.float64)


def with_interval(value: float, draws: Float[np.ndarray, " draw"]) -> Estimate:
    """Return a value with the middle 95 % of the draws of it that are defined, stretched to hold it."""
    low, high = _quantiles(draws[None], np.array([value]))[:, 0] if draws.size else (None, None)
    if low is None or high is None:
        return Estimate(value, None, None, None)
    return Estimate(value, min(float(low), value), max(float(high), value), None)


def _quantiles(
    draws: Float[np.ndarray, "neuron draw"], values: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, "2 neuron"]:
    """Return the bounds of the middle 95 % of the defined draws; the value itself where none is defined."""
    finite = np.isfinite(draws)
    whole, none = finite.all(1), ~finite.any(1)
    bounds = np.tile(values, (2, 1))
    if whole.any():
        bounds[:, whole] = np.quantile(draws[whole], _LEVELS, axis=1)
    # A draw may leave a measure undefined, as one without any firing unit, and of each neuron another one.
    for place in np.flatnonzero(~whole & ~none):
        bounds[:, place] = np.quantile(draws[place, finite[place]], _LEVELS)
    return bounds

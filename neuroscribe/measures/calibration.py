"""How simulated values, 0 to 10, become activations: the maps a study can choose from.

A map serves R², absolute deviation and ablation, never the correlation.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Calibrated = Callable[[Float[np.ndarray, "*shape"]], Float[np.ndarray, "*shape"]]
"""From simulated values to activations."""
_TINY = 1e-12
"""Spread, relative to size, below which a simulation counts as constant, as it does for the correlation."""


def stretched(maximum: float) -> Calibrated:
    """Return the map that takes 10 to the neuron's largest activation, as the 0..10 scale is defined."""
    return lambda values: values * (maximum / 10)


def linear(simulated: Float[np.ndarray, " token"], truth: Float[np.ndarray, " token"]) -> Calibrated:
    """Return the least-squares line with a slope of at least 0; a constant simulation gives the mean truth.

    Bills et al. 2023 calibrate linearly; a negative slope would turn a prediction of the opposite into a
    right one.
    """
    centred = simulated - simulated.mean()
    # A constant's mean is off by a rounding, so that its spread is no test of whether it is one.
    is_constant = np.ptp(simulated) <= _TINY * np.abs(simulated).max()
    slope = 0.0 if is_constant else max(0.0, float((centred * truth).sum() / (centred**2).sum()))
    intercept = float(truth.mean()) - slope * float(simulated.mean())
    return lambda values: intercept + slope * values


def percentile(simulated: Float[np.ndarray, " token"], truth: Float[np.ndarray, " token"]) -> Calibrated:
    """Return the map from quantiles of the simulation to quantiles of the truth, linear in between.

    Simulated values that are equal share the mean of the truths in their places.
    """
    levels, place, count = np.unique(simulated, return_inverse=True, return_counts=True)
    totals = np.bincount(np.sort(place), weights=np.sort(truth), minlength=len(levels))
    return lambda values: np.interp(values, levels, totals / count)

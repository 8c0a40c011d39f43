"""Student's t: how many standard errors a 95 % interval reaches to each side."""

from functools import cache

import numpy as np
from jaxtyping import Float

_ANGLES = 8192
_STEPS = 513
"""Degrees of freedom that are integrated, evenly spaced by their inverse; between them the reach is smooth."""
_MOST = 1e4
"""Degrees of freedom above which t is the normal distribution to three digits."""


def reach(degrees: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the .975 quantile of t; degrees below 1 count as 1, and may be fractions."""
    inverse, quantile = _table()
    return np.interp(1 / np.maximum(degrees, 1.0), inverse, quantile)


@cache
def _table() -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    # With t = √ν tan θ, θ has the density cos(θ)^(ν - 1) on (-π/2, π/2), which is smooth and bounded.
    angle = np.linspace(0, np.pi / 2, _ANGLES)
    inverse = np.linspace(1 / _MOST, 1, _STEPS)
    quantile = np.empty(_STEPS)
    for place, degrees in enumerate(1 / inverse):
        density = np.cos(angle) ** (degrees - 1)
        mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        quantile[place] = np.sqrt(degrees) * np.tan(np.interp(0.95, mass / mass[-1], angle))
    return inverse, quantile

"""How far simulated activations agree with true ones, for many neurons at once.

With a the true and s the simulated activation at a token, over all tokens of all scored sequences together:

- `correlation`: Pearson's, on raw simulated values, so that a prediction of the opposite scores negative
  (Bills et al. 2023: over concatenated tokens, not a mean of per-sequence correlations)
- `r2`: 1 - Σ(a - s)² / Σ(a - mean a)², the explained variance (Bills et al. 2023; their released code
  divides by Σa² instead), on calibrated values
- `deviation`: 1 - Σ|a - s| / Σ|a|, the absolute deviation explained (their released code), on calibrated
  values
- `contrast`: Pearson's correlation of a with s minus the simulation under another neuron's explanation,
  which takes out what a simulator says of these tokens whatever the explanation

Every function gives one estimate a neuron; undefined ones are null with the reason.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from neuroscribe.measures.bootstrap import Estimate, estimates

Activations = Float[np.ndarray, "neuron sequence token"]

_TINY = 1e-12
"""Spread, relative to size, below which values count as constant: rounding, not signal."""


def correlation(
    truth: Float[np.ndarray, "sequence token"],
    simulated: Float[np.ndarray, "sequence token"],
    *,
    samples: int,
    seed: int,
) -> Estimate:
    """Return one neuron's correlation."""
    return correlations(truth[None], simulated[None], samples=samples, seed=seed)[0]


def correlations(truth: Activations, simulated: Activations, *, samples: int, seed: int) -> list[Estimate]:
    """Return correlations; undefined for unreadable simulations and for constant values on either side."""
    constant = {"constant truth": _constant(truth), "constant simulation": _constant(simulated)}
    reasons = _reasons(truth, simulated, constant)
    sums = _sums(_centred(truth), _centred(simulated))
    return estimates(sums, _pearson, reasons, samples=samples, seed=seed)


def contrasts(
    truth: Activations, simulated: Activations, control: Activations, *, samples: int, seed: int
) -> list[Estimate]:
    """Return contrasts; undefined also where both simulations differ by a constant."""
    contrasted = correlations(truth, simulated - control, samples=samples, seed=seed)
    same = Estimate.missing("the simulation is that under the control's explanation")
    return [same if each.null_reason == "constant simulation" else each for each in contrasted]


def variances_explained(
    truth: Activations, calibrated: Activations, *, samples: int, seed: int
) -> list[Estimate]:
    """Return r2; undefined for unreadable simulations and constant truth, else at most 1."""
    reasons = _reasons(truth, calibrated, {"constant truth": _constant(truth)})
    # Centred once over all sequences, which moves no variance; a draw's own mean is taken off by its sums.
    centred, error = _centred(truth), _readable(truth - calibrated)
    n = np.full(truth.shape[:2], truth.shape[2], dtype=np.float64)
    sums = np.stack([n, centred.sum(2), (centred**2).sum(2), (error**2).sum(2)], axis=2)
    return estimates(sums, _explained_variance, reasons, samples=samples, seed=seed)


def deviations_explained(
    truth: Activations, calibrated: Activations, *, samples: int, seed: int
) -> list[Estimate]:
    """Return absolute deviations explained; undefined for unreadable simulations and truth that is all 0."""
    silent = (truth == 0).all(axis=(1, 2))
    reasons = _reasons(truth, calibrated, {"truth is 0 at every token": silent})
    sums = np.stack([np.abs(truth).sum(2), np.abs(_readable(truth - calibrated)).sum(2)], axis=2)
    return estimates(sums, ratio_explained, reasons, samples=samples, seed=seed)


def ratio_explained(sums: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape"]:
    """Return 1 - (second sum) / (first sum), NaN where the first is 0."""
    whole, rest = np.moveaxis(sums, -1, 0)
    return 1 - _quotient(rest, whole, whole > 0)


def _reasons(
    truth: Activations, simulated: Activations, undefined: Mapping[str, Bool[np.ndarray, " neuron"]]
) -> list[str | None]:
    """Return why each neuron cannot be scored, or None; `undefined` holds a measure's own reasons."""
    if not truth[:1].size:
        return ["no sequences to score on"] * len(truth)
    missing = (~np.isfinite(simulated)).sum(axis=(1, 2))
    tokens = truth[0].size
    reasons = [f"no readable value at {count} of {tokens} tokens" if count else None for count in missing]
    for text, applies in undefined.items():
        reasons = [
            reason or (text if applied else None) for reason, applied in zip(reasons, applies, strict=True)
        ]
    return reasons


def _constant(values: Activations) -> Bool[np.ndarray, " neuron"]:
    flat = _readable(values).reshape(len(values), -1)
    if not flat.shape[1]:
        return np.ones(len(values), dtype=bool)
    return np.ptp(flat, axis=1) <= _TINY * np.abs(flat).max(axis=1)


def _centred(values: Activations) -> Activations:
    """Return values about each neuron's mean, so that sums of squares lose nothing to a large offset."""
    known = _readable(values)
    return known - known.mean(axis=(1, 2), keepdims=True) if known[:1].size else known


def _readable(values: Activations) -> Activations:
    """Return values with 0 for what cannot be read; such neurons get no score."""
    return np.where(np.isfinite(values), values, 0.0)


def _sums(x: Activations, y: Activations) -> Float[np.ndarray, "neuron sequence 6"]:
    """Return per sequence n, Σx, Σy, Σxx, Σyy, Σxy."""
    n = np.full(x.shape[:2], x.shape[2], dtype=np.float64)
    return np.stack([n, x.sum(2), y.sum(2), (x * x).sum(2), (y * y).sum(2), (x * y).sum(2)], axis=2)


def _pearson(sums: Float[np.ndarray, "*shape 6"]) -> Float[np.ndarray, "*shape"]:
    n, sx, sy, sxx, syy, sxy = np.moveaxis(sums, -1, 0)
    n = np.maximum(n, 1)
    # Σ(x - mean)² = Σx² - (Σx)² / n, which cancels; what is left of a constant is rounding, hence _TINY. The
    # factors 1/n of variances and covariance cancel in the quotient.
    vx, vy = sxx - sx * sx / n, syy - sy * sy / n
    defined = (vx > _TINY * sxx) & (vy > _TINY * syy)
    scale = np.sqrt(np.where(defined, vx * vy, 1.0))
    return np.where(defined, ((sxy - sx * sy / n) / scale).clip(-1, 1), np.nan)


def _explained_variance(sums: Float[np.ndarray, "*shape 4"]) -> Float[np.ndarray, "*shape"]:
    n, total, squares, error = np.moveaxis(sums, -1, 0)
    variance = squares - total * total / np.maximum(n, 1)
    defined = variance > _TINY * squares
    return 1 - _quotient(error, variance, defined)


def _quotient(
    upper: Float[np.ndarray, "*shape"],
    lower: Float[np.ndarray, "*shape"],
    defined: Bool[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """Return one through the other, NaN where that is not defined."""
    return np.where(defined, upper / np.where(defined, lower, 1.0), np.nan)

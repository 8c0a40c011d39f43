"""How far simulated activations agree with true ones over a population of sequences, some of them drawn.

With a the true and s the simulated activation at a token, over all tokens of all drawn sequences together,
each weighted by how many sequences of the population its own stands for (`Draws`):

- correlation: Pearson's on raw simulated values, so that a prediction of the opposite scores negative. All
  six sums are weighted alike: a known variance of the truth in the place of the drawn one would be worse
- cosine: Σas / √(Σa² Σs²)
- F1, IoU: of the tokens where the neuron fires and those where the simulation says so (at least SAYS_FIRES of
  10): 2 both / (one + other), both / either
- AUPRC: average precision of the simulated values in finding the tokens where the neuron fires; equal values
  are one threshold
- r2: 1 - Σ(a - s)² / Σ(a - mean a)², deviation: 1 - Σ|a - s| / Σ|a|, both on calibrated values

Every function gives one estimate a neuron; undefined ones are null with the reason.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from neuroscribe.measures import intervals
from neuroscribe.measures.average_precision import average_precision
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.intervals import Influence, PerNeuron, estimated

Activations = Float[np.ndarray, "neuron sequence token"]
Firing = Bool[np.ndarray, "neuron sequence token"]

SAYS_FIRES = 5.0
"""Simulated value, of 10, from which a simulation says that the neuron fires."""
CONSTANT, SILENT, UNFIRED = "constant truth", "truth is 0 at every token", "the neuron fires at no token"
OF_THE_NEURON = (CONSTANT, SILENT, UNFIRED)
"""Why a score is undefined whatever an explanation says: the neuron gives nothing to explain there."""
_TINY = 1e-12
"""Spread, relative to size, below which values count as constant: rounding, not signal."""


def correlations(truth: Activations, simulated: Activations, draws: Draws) -> list[Estimate]:
    """Return correlations; undefined for unreadable simulations and for constant values on either side."""
    constant = {CONSTANT: _constant(truth), "constant simulation": _constant(simulated)}
    reasons = _reasons(truth, simulated, constant)
    x, y = _centred(_scaled(truth), draws), _centred(_scaled(simulated), draws)
    return _cosines(x, y, draws, reasons)


def cosines(truth: Activations, simulated: Activations, draws: Draws) -> list[Estimate]:
    """Return cosines; undefined for unreadable simulations and where either side is 0 at every token."""
    silent = {
        SILENT: (truth == 0).all((1, 2)),
        "simulation is 0 at every token": (simulated == 0).all((1, 2)),
    }
    return _cosines(_scaled(truth), _scaled(simulated), draws, _reasons(truth, simulated, silent))


def _cosines(x: Activations, y: Activations, draws: Draws, reasons: list[str | None]) -> list[Estimate]:
    xx, yy, xy = (x * x).sum(2), (y * y).sum(2), (x * y).sum(2)
    whole_x, whole_y = _total(xx, draws), _total(yy, draws)
    scale = np.sqrt(_divisor(whole_x * whole_y))
    values = (_total(xy, draws) / scale).clip(-1, 1)
    # The derivative by the weight of a sequence; those of both means vanish, as the sums are about them.
    halves = xx / _divisor(whole_x)[:, None] + yy / _divisor(whole_y)[:, None]
    influence = xy / scale[:, None] - values[:, None] / 2 * halves
    return estimated(values, influence, draws, reasons, intervals.fisher(xx.shape[1]))


def f1s(fires: Firing, simulated: Activations, draws: Draws) -> list[Estimate]:
    """Return F1; undefined for unreadable simulations and where the neuron fires at no drawn token."""
    both, one, other = _overlaps(fires, simulated)
    return _shares(2 * both, one + other, draws, _unfiring(fires, simulated))


def ious(fires: Firing, simulated: Activations, draws: Draws) -> list[Estimate]:
    """Return intersections over unions; undefined where F1 is."""
    both, one, other = _overlaps(fires, simulated)
    return _shares(both, one + other - both, draws, _unfiring(fires, simulated))


def auprcs(fires: Firing, simulated: Activations, draws: Draws) -> list[Estimate]:
    """Return average precisions; undefined where F1 is. A constant simulation gets the share that fires."""
    weights = np.broadcast_to(draws.weights[:, :, None], fires.shape)
    flat = (len(fires), fires.shape[1] * fires.shape[2])
    values, by_token = average_precision(
        fires.reshape(flat), _readable(simulated).reshape(flat), weights.reshape(flat)
    )
    influence = by_token.reshape(fires.shape).sum(2)
    seen = intervals.equally_many(draws.weights * fires.sum(2))
    return estimated(values, influence, draws, _unfiring(fires, simulated), intervals.wilson(seen))


def variances_explained(truth: Activations, calibrated: Activations, draws: Draws) -> list[Estimate]:
    """Return r2; undefined for unreadable simulations and constant truth, else at most 1."""
    reasons = _reasons(truth, calibrated, {CONSTANT: _constant(truth)})
    variance, error = (_centred(truth, draws) ** 2).sum(2), (_readable(truth - calibrated) ** 2).sum(2)
    return _explained(variance, error, draws, reasons)


def deviations_explained(truth: Activations, calibrated: Activations, draws: Draws) -> list[Estimate]:
    """Return absolute deviations explained; undefined for unreadable simulations and truth that is all 0."""
    silent = {SILENT: (truth == 0).all((1, 2))}
    whole, rest = np.abs(truth).sum(2), np.abs(_readable(truth - calibrated)).sum(2)
    return _explained(whole, rest, draws, _reasons(truth, calibrated, silent))


def ratios_explained(sums: Float[np.ndarray, "neuron sequence 2"], draws: Draws) -> list[Estimate]:
    """Return 1 - (second sum) / (first sum); undefined where the first is 0."""
    whole, rest = np.moveaxis(sums, -1, 0)
    none = "nothing to explain" if sums.shape[1] else "no sequences to score on"
    reasons = [None if each else none for each in _total(whole, draws) > 0]
    return _explained(whole, rest, draws, reasons)


def _explained(whole: Influence, rest: Influence, draws: Draws, reasons: list[str | None]) -> list[Estimate]:
    """Return 1 - Σ rest / Σ whole of sums by sequence."""
    divisor = _divisor(_total(whole, draws))
    left = _total(rest, draws) / divisor
    influence = (left[:, None] * whole - rest) / divisor[:, None]
    return estimated(1 - left, influence, draws, reasons, intervals.explained(whole.shape[1]))


def _shares(upper: Influence, lower: Influence, draws: Draws, reasons: list[str | None]) -> list[Estimate]:
    """Return Σ upper / Σ lower of sums by sequence, a share between 0 and 1."""
    divisor = _divisor(_total(lower, draws))
    values = _total(upper, draws) / divisor
    influence = (upper - values[:, None] * lower) / divisor[:, None]
    seen = intervals.equally_many(draws.weights * lower)
    return estimated(values, influence, draws, reasons, intervals.wilson(seen))


def _overlaps(fires: Firing, simulated: Activations) -> tuple[Influence, Influence, Influence]:
    """Return, by sequence, at how many tokens both fire, the neuron fires, and the simulation says so."""
    says = _readable(simulated) >= SAYS_FIRES
    both, one, other = (each.sum(2).astype(np.float64) for each in (fires & says, fires, says))
    return both, one, other


def _total(by_sequence: Influence, draws: Draws) -> PerNeuron:
    """Return the population's sum, as the draws estimate it."""
    return (draws.weights * by_sequence).sum(1)


def _reasons(
    truth: Activations | Firing, simulated: Activations, undefined: Mapping[str, Bool[np.ndarray, " neuron"]]
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


def _unfiring(fires: Firing, simulated: Activations) -> list[str | None]:
    return _reasons(fires, simulated, {UNFIRED: np.logical_not(fires.any((1, 2)))})


def _constant(values: Activations) -> Bool[np.ndarray, " neuron"]:
    flat = _readable(values).reshape(len(values), -1) if values.size else np.zeros((len(values), 1))
    return np.ptp(flat, axis=1) <= _TINY * np.abs(flat).max(axis=1)


def _scaled(values: Activations) -> Activations:
    """Return values with a largest size of 1, whose squares neither vanish nor overflow."""
    known = _readable(values)
    largest = np.abs(known).max(axis=(1, 2), keepdims=True, initial=0.0)
    return known / _divisor(largest)


def _centred(values: Activations, draws: Draws) -> Activations:
    """Return values about each neuron's weighted mean: their squares' sums lose nothing to a large offset."""
    known = _readable(values)
    if not known.size:
        return known
    weights = draws.weights / draws.weights.sum(1, keepdims=True)
    return known - (weights * known.mean(2)).sum(1)[:, None, None]


def _readable(values: Activations) -> Activations:
    """Return values with 0 for what cannot be read; such neurons get no score."""
    return np.where(np.isfinite(values), values, 0.0)


def _divisor(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return values to divide by: 1 where they are 0, which only what is undefined has."""
    return np.where(values > 0, values, 1.0)

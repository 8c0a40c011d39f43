"""What the arithmetic of scores costs: correlations of a whole layer at once against a loop over neurons.

Each of the loop's standard errors comes from correlations that leave one sequence after the other out.

Times are of the processor, not of the clock, so that they hold on a machine that others use as well.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from benchmarks.figures import Figure, figure
from neuroscribe.measures.agreement import Activations, correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate

NEURONS, TOKENS, REPEATS = 6400, 64, 3
DRAWN, SIZES = (5, 6, 5, 4), (20, 134, 614, 768)
"""Sequences drawn of each stratum, and the strata's sizes, as in the default study."""
STRATUM = np.repeat(np.arange(len(DRAWN)), DRAWN)
SEQUENCES = len(STRATUM)
LOOPED = 20
"""Neurons that the loop is timed on."""

Result = TypeVar("Result")


def scoring_figures() -> Iterator[Figure]:
    """Yield the figures of scoring, after checking that both ways give the same scores and intervals."""
    truth, simulated = _activations()
    seconds: list[float] = []
    ratios: list[float] = []
    for _ in range(REPEATS):
        fast, spent = _timed(lambda: correlations(truth, simulated, _draws()))
        pairs = zip(truth[:LOOPED], simulated[:LOOPED], strict=True)
        slow, looped = _timed(lambda pairs=pairs: [_looped(x, y) for x, y in pairs])
        seconds.append(spent)
        ratios.append((looped / LOOPED) / (spent / NEURONS))
        _check_equal(fast[:LOOPED], slow)
    yield figure("score.arithmetic_ratio", ratios, "x faster than a loop", n=NEURONS)
    yield figure("score.arithmetic_seconds", seconds, "s of processor time", n=NEURONS)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def _activations() -> tuple[Activations, Activations]:
    """Return sparse positive activations and noisy simulations of them, 0 to 10."""
    generator = np.random.default_rng(0)
    shape = (NEURONS, SEQUENCES, TOKENS)
    truth = generator.gamma(2.0, 2.0, shape) * (generator.random(shape) < 0.2)
    simulated = (truth + generator.normal(0, 2, shape)).clip(0, 10)
    return truth, simulated


def _draws() -> Draws:
    sizes = np.array(SIZES, dtype=np.float64)[STRATUM]
    return Draws(np.tile(STRATUM, (NEURONS, 1)), np.tile(sizes, (NEURONS, 1)))


def _looped(
    truth: Float[np.ndarray, "sequence token"], simulated: Float[np.ndarray, "sequence token"]
) -> tuple[float, float]:
    """Return correlation and standard error the plain way: the jackknife of each stratum."""
    weights = (np.array(SIZES) / np.array(DRAWN))[STRATUM]
    variance = 0.0
    for label, (count, size) in enumerate(zip(DRAWN, SIZES, strict=True)):
        left_out = []
        for gone in np.flatnonzero(label == STRATUM):
            rest = np.where(label == STRATUM, weights * count / (count - 1), weights)
            rest[gone] = 0.0
            left_out.append(_correlation(truth, simulated, rest))
        variance += (1 - count / size) * (count - 1) * float(np.var(left_out))
    return _correlation(truth, simulated, weights), variance**0.5


def _correlation(
    truth: Float[np.ndarray, "sequence token"],
    simulated: Float[np.ndarray, "sequence token"],
    weights: Float[np.ndarray, " sequence"],
) -> float:
    each = np.repeat(weights, truth.shape[1])
    covariance = np.cov(truth.ravel(), simulated.ravel(), aweights=each, ddof=0)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def _check_equal(fast: Sequence[Estimate], slow: Sequence[tuple[float, float]]) -> None:
    """Compare values, and that intervals are as wide as the jackknife's error lets expect."""
    for estimate, (value, error) in zip(fast, slow, strict=True):
        together = np.array([estimate.value, estimate.ci_low, estimate.ci_high], dtype=np.float64)
        np.testing.assert_allclose(together[0], value, rtol=0, atol=1e-9)
        # Reach by Student's t with few degrees of freedom, and by what draws cannot show.
        assert 1.5 < (together[2] - together[1]) / (2 * error) < 15

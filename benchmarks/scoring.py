"""What the arithmetic of scores costs: pooled correlations from sums against a loop over resampled tokens."""

import time
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from benchmarks.figures import Figure, figure
from neuroscribe.score.correlation import Correlation, correlation

NEURONS, SEQUENCES, TOKENS, DRAWS, REPEATS = 400, 10, 64, 1000, 5
LOOPED = 20
"""Neurons that the loop is timed on; it takes a minute for all."""

Activations = Float[np.ndarray, "neuron sequence token"]


def scoring_figures() -> Iterator[Figure]:
    """Yield the figure of scoring, after checking that both ways give the same scores and intervals."""
    truth, simulated = _activations()
    ratios: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        fast = [correlation(x, y, samples=DRAWS, seed=0) for x, y in zip(truth, simulated, strict=True)]
        per_neuron = (time.perf_counter() - started) / NEURONS
        started = time.perf_counter()
        slow = [_looped(x, y) for x, y in zip(truth[:LOOPED], simulated[:LOOPED], strict=True)]
        ratios.append((time.perf_counter() - started) / LOOPED / per_neuron)
        _check_equal(fast[:LOOPED], slow)
    yield figure("score.arithmetic_ratio", ratios, "x faster than a loop", n=NEURONS)


def _activations() -> tuple[Activations, Activations]:
    """Return sparse positive activations and noisy simulations of them, 0 to 10."""
    generator = np.random.default_rng(0)
    shape = (NEURONS, SEQUENCES, TOKENS)
    truth = generator.gamma(2.0, 2.0, shape) * (generator.random(shape) < 0.2)
    simulated = (truth + generator.normal(0, 2, shape)).clip(0, 10)
    return truth, simulated


def _looped(
    truth: Float[np.ndarray, "sequence token"], simulated: Float[np.ndarray, "sequence token"]
) -> tuple[float, float, float]:
    """Return correlation and interval the plain way: draw sequences, join their tokens, correlate."""
    value = np.corrcoef(truth.ravel(), simulated.ravel())[0, 1]
    generator = np.random.default_rng(0)
    counts = generator.multinomial(SEQUENCES, np.full(SEQUENCES, 1 / SEQUENCES), size=DRAWS)
    drawn = np.empty(DRAWS)
    for draw, count in enumerate(counts):
        rows = np.repeat(np.arange(SEQUENCES), count)
        drawn[draw] = np.corrcoef(truth[rows].ravel(), simulated[rows].ravel())[0, 1]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(value), float(low), float(high)


def _check_equal(fast: list[Correlation], slow: list[tuple[float, float, float]]) -> None:
    for one, other in zip(fast, slow, strict=True):
        found = np.array([one.value, one.ci_low, one.ci_high], dtype=np.float64)
        np.testing.assert_allclose(found, other, rtol=0, atol=1e-9)

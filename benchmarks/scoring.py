"""What the arithmetic of scores costs: correlations of a whole layer at once against a loop over neurons.

Times are of the processor, not of the clock, so that they hold on a machine that others use as well.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from benchmarks.figures import Figure, figure
from neuroscribe.measures.agreement import Activations, correlations
from neuroscribe.measures.estimate import Estimate

NEURONS, SEQUENCES, TOKENS, DRAWS, REPEATS = 6400, 10, 64, 1000, 3
LOOPED = 20
"""Neurons that the loop is timed on; it takes a quarter of an hour for all."""

Result = TypeVar("Result")


def scoring_figures() -> Iterator[Figure]:
    """Yield the figures of scoring, after checking that both ways give the same scores and intervals."""
    truth, simulated = _activations()
    seconds: list[float] = []
    ratios: list[float] = []
    for _ in range(REPEATS):
        fast, spent = _timed(lambda: correlations(truth, simulated, samples=DRAWS, seed=0))
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


def _check_equal(fast: Sequence[Estimate], slow: Sequence[tuple[float, float, float]]) -> None:
    for estimate, looped in zip(fast, slow, strict=True):
        together = np.array([estimate.value, estimate.ci_low, estimate.ci_high], dtype=np.float64)
        np.testing.assert_allclose(together, looped, rtol=0, atol=1e-9)

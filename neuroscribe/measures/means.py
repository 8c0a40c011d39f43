"""How sure the mean of a few values is: a 95 % interval that also covers where they are skewed.

To each side it is the farther of two bounds: that of Student's t, which is exact for values from a normal
distribution, and that of the bootstrap-t (Efron 1981), which follows their skew. The percentile bootstrap,
which it replaces, covers .82, .75 and .53 at n = 5.
"""

from collections.abc import Iterable

import numpy as np

from neuroscribe.measures.student import t_quantile

ENOUGH = 3
"""Values from which on a mean has an interval."""
_DRAWS = 999
_FOLLOWS_SKEW = range(5, 501)
"""Numbers of values for which the bootstrap-t is taken in: fewer are too few to draw from, of more the mean
is normal anyway."""
_LEVELS = (0.025, 0.975)


def mean_interval(
    values: Iterable[float], *, least: float | None = None, most: float | None = None
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the mean of independent values, which lie from `least` to `most`.

    (None, None) for fewer than three values, and for values that are all alike, which do not say how far
    others may lie. The draws follow from the number of values alone. Coverage, of n = 5, 10, 20, 50:

    - normal: .97, .96, .96, .95
    - exponential: .94, .94, .95, .96
    - one of ten .8, the others about 0: .67, .66, .88, .98; for most samples of five hold none of the tenth

    Of three: .95, .89, .75. Where values are few and skewed it is wide: more than twice Student's at n = 5.
    """
    sample = np.array(list(values), dtype=np.float64)
    if len(sample) < ENOUGH or np.ptp(sample) == 0:
        return None, None
    mean, error = sample.mean(), sample.std(ddof=1) / np.sqrt(len(sample))
    far = float(t_quantile(len(sample) - 1, _LEVELS[1]))
    below, above = (far, far) if len(sample) not in _FOLLOWS_SKEW else _reaches(sample, far)
    low, high = np.clip([mean - below * error, mean + above * error], least, most)
    return float(low), float(high)


def _reaches(sample: np.ndarray, far: float) -> tuple[float, float]:
    """Return how many standard errors the interval reaches below and above the mean, each `far` at least."""
    count = len(sample)
    drawn = sample[np.random.default_rng(0).integers(count, size=(_DRAWS, count))]
    spread = drawn.std(axis=1, ddof=1)
    varied = spread > 1e-9 * np.ptp(sample)
    t = (drawn.mean(axis=1)[varied] - sample.mean()) / (spread[varied] / np.sqrt(count))
    low, high = np.quantile(t, _LEVELS)
    # A draw with a mean that is too high tells how far the truth may lie below, and the other way round.
    return max(far, float(high)), max(far, float(-low))

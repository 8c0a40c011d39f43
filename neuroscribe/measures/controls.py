"""How an explanation stands against the explanations of other neurons, on the same sequences.

One foreign text is too weak a mark: two unrelated texts differ by chance, and the better one of two is called
better half of the time. Of ten none is as good by chance in one case of eleven (a permutation test, exact
where the texts are exchangeable); how far above them a score lies says more than that.
"""

from collections.abc import Sequence

import numpy as np

from neuroscribe.measures.student import t_below

CONTROLS = 10
"""Foreign explanations that one is held against, where there are so many."""
FIRST = 3
"""Of these always held against it; the others follow where none of them was as good."""
_FEWEST = 3
"""Values from which their spread is taken."""
_ALIKE = 1e-9
"""Spread up to which controls are alike: rounding, which does not say how far others may lie."""
_LEAST_SPREAD = 0.01
"""A smaller spread counts as this: that ten happen to be nearly alike makes no hundredth a great distance."""


def chance(own: float | None, others: Sequence[float | None]) -> float | None:
    """Return how likely a foreign explanation does as well as the own one: a one-sided p-value.

    With r of n controls as good as it, (1 + r) / (1 + n). Where none is, and there are at least three, the
    smaller of that and the tail of Student's t of own - mean, in units of s sqrt(1 + 1/n), n - 1 degrees:
    the prediction interval of one more control, with an s of at least .01; controls that are all alike say
    nothing of their spread. A control without a score has said nothing, and counts as 0. None without an own
    score or without controls.
    """
    if own is None or not others:
        return None
    scores = np.array([0.0 if other is None else other for other in others])
    n, as_good = len(scores), int((scores >= own).sum())
    by_rank = (1 + as_good) / (1 + n)
    spread = float(scores.std(ddof=1)) if n >= _FEWEST else 0.0
    if as_good or spread <= _ALIKE:
        return by_rank
    distance = (own - float(scores.mean())) / (max(spread, _LEAST_SPREAD) * np.sqrt(1 + 1 / n))
    return min(by_rank, t_below(n - 1, -distance))


def beaten(own: float | None, others: Sequence[float | None]) -> bool:
    """Tell whether some control is as good as the own explanation, or there is no own score."""
    return own is None or any((other or 0.0) >= own for other in others)


def discoveries(p_values: Sequence[float], *, rate: float = 0.05) -> list[bool]:
    """Tell which of many p-values stand for an effect, with false ones a share of `rate` at most.

    Benjamini and Hochberg 1995: the k smallest, for the largest k whose p is at most rate x k / n.
    """
    p = np.array(p_values, dtype=np.float64)
    if not len(p):
        return []
    order = np.argsort(p, kind="stable")
    below = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    limit = p[order[below[-1]]] if len(below) else -1.0
    return [bool(value) for value in p <= limit]

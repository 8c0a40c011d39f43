"""How long to wait before another attempt."""

import random

_FIRST_S, _LONGEST_S = 0.5, 60.0


def backoff_s(attempt: int, generator: random.Random, *, asked_s: float | None = None) -> float:
    """Return the seconds before the attempt that follows the `attempt`-th (from 1).

    They double up to a minute and vary by up to a quarter, so that calls that failed together do not come
    back together. What the server asks for is never undercut; but one that asks for less (some say 0 whatever
    happens) does not have all attempts at once.
    """
    wait = min(_LONGEST_S, _FIRST_S * 2.0 ** (attempt - 1)) * generator.uniform(0.75, 1.0)
    if asked_s is None:
        return wait
    return max(wait, asked_s + generator.uniform(0.0, min(1.0, 0.1 * asked_s)))

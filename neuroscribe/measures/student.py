"""Student's t: how far a mean of few draws may be off. The one importer of scipy.

It is imported where a number is asked for: what only names measures is spared a quarter of a second.
"""

import numpy as np
from jaxtyping import Float


def t_quantile(degrees: Float[np.ndarray, "..."] | float | int, level: float) -> Float[np.ndarray, "..."]:
    """Return the value below which t lies with probability `level`, for each number of degrees of freedom."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    return np.asarray(stdtrit(degrees, level))


def t_below(degrees: int, value: float) -> float:
    """Return the probability that t with so many degrees of freedom lies below a value."""
    from scipy.special import stdtr  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return float(stdtr(degrees, value))

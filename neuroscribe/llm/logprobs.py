"""Which log-probabilities that a server sends can be believed."""

import sys
from collections.abc import Mapping
from typing import TypeGuard

_ROUNDING = 0.01  # how far above 0 a server's arithmetic may put the logarithm of a probability


def readable_logprobs(sent: Mapping[str, object]) -> dict[str, float]:
    """Return the log-probabilities of a place's likeliest tokens, or none if any of them is absurd.

    Null, as JSON writes the logarithm of 0, leaves its token out. After anything else that is no
    log-probability, the rest of the place is not to be trusted either.
    """
    known = {token: value for token, value in sent.items() if value is not None}
    read = {token: float(value) for token, value in known.items() if _is_logprob(value)}
    return read if len(read) == len(known) else {}


def _is_logprob(value: object) -> TypeGuard[float]:
    """Tell whether this is a number, a float can hold it and no probability above 1 belongs to it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return -sys.float_info.max <= value <= _ROUNDING
    return isinstance(value, float) and value <= _ROUNDING

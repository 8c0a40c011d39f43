"""One reading of several: of an explanation's parts, each read by itself, the largest value counts."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import numpy as np

from neuroscribe.ports.replies import ReadingStatus, Simulated
from neuroscribe.simulate.distribution import GRAVEST


def largest(parts: Sequence[Sequence[Simulated]]) -> list[Simulated]:
    """Return, of readings of the same sequences under several texts, the largest value at each token.

    A token that one text gives no value has none: what is not known might have been the largest. The status
    is the gravest of them, the mass on valid values the smallest; what they took is added up.
    """
    return [each[0] if len(each) == 1 else _largest(each) for each in zip(*parts, strict=True)]


def _largest(readings: Sequence[Simulated]) -> Simulated:
    values = np.array([reading.activations for reading in readings], dtype=np.float64)
    statuses: list[ReadingStatus] = [reading.status for reading in readings]
    masses = [reading.valid_fraction for reading in readings]
    return Simulated(
        tuple(values.max(axis=0).tolist()),  # NaN where one is NaN
        None if None in masses else min(mass for mass in masses if mass is not None),
        min(statuses, key=GRAVEST.index),
        usage=reduce(add, (reading.usage for reading in readings)),
        raw="\n".join(reading.raw for reading in readings if reading.raw),
        unmatched_words=_sum(reading.unmatched_words for reading in readings),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None

"""Sums of fp64 values that do not depend on the order of addition, so that shards merge to the same bits.

Each value is cut into whole multiples of fixed powers of 2^32 (limbs), which are added as integers. A sum
keeps the four highest limbs that its largest value has met: what lies below is left out, and is less than
2^-95 of that value each time. Whether a limb is kept in the end depends on the largest of all values alone,
so adding and merging are associative and commutative to the last bit. The idea is that of reproducible
summation (Demmel and Nguyen, "Parallel Reproducible Summation", 2015), here in integers.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

LIMBS = 4
_BITS = 32
_NOTHING = -(2**20)
"""Top of a sum that has met only zeros."""


@dataclass
class ExactSum:
    """Sums of many columns, side by side; up to 2^31 values may be added to each."""

    limbs: Int[np.ndarray, "row limb column"]
    """Highest first, each below 2^32 per value added; not carried into one another."""
    top: Int[np.ndarray, "row column"]
    """Power of 2^32 that the highest limb counts."""

    @classmethod
    def zero(cls, rows: int, columns: int) -> "ExactSum":
        """Return the sum of nothing."""
        limbs = np.zeros((rows, LIMBS, columns), dtype=np.int64)
        return cls(limbs, np.full((rows, columns), _NOTHING, dtype=np.int32))

    def add(self, values: Float[np.ndarray, "row column"]) -> None:
        """Add one finite fp64 value to every column."""
        self.merge(_cut(values))

    def merge(self, other: "ExactSum") -> None:
        """Add what another sum holds."""
        top = np.maximum(self.top, other.top)
        self.limbs = _lowered(self.limbs, top - self.top) + _lowered(other.limbs, top - other.top)
        self.top = top

    def fraction(self, row: int, column: int) -> Fraction:
        """Return one sum as it is."""
        top = int(self.top[row, column])
        limbs = self.limbs[row, :, column].tolist()
        return sum(
            (limb * Fraction(2) ** (_BITS * (top - i)) for i, limb in enumerate(limbs) if limb), Fraction(0)
        )

    def put(self, row: int, column: int, value: Fraction) -> None:
        """Replace one sum, by as much of a value as limbs hold."""
        parts = ExactSum.zero(1, 1)
        # A float is the 53 bits nearest to what is left, so that four of them hold more than 4 x 32 bits.
        for _ in range(LIMBS):
            part = float(value)
            parts.add(np.array([[part]]))
            value -= Fraction(part)
        self.limbs[row, :, column], self.top[row, column] = parts.limbs[0, :, 0], parts.top[0, 0]

    def rounded(self) -> Float[np.ndarray, "row column"]:
        """Return the sums as fp64, a fixed function of the limbs."""
        total = np.zeros(self.top.shape)
        # From the lowest limb up, as a small one that comes after a large one would be rounded away.
        for limb in reversed(range(LIMBS)):
            total = total + np.ldexp(self.limbs[:, limb].astype(np.float64), -_BITS * limb)
        return np.ldexp(total, _BITS * np.where(total == 0, 0, self.top))


def _cut(values: Float[np.ndarray, "row column"]) -> ExactSum:
    """Cut values into limbs; every step is exact."""
    # frexp gives m x 2^e with 1/2 <= |m| < 1, so that |value| lies in [2^(e-1), 2^e). Floor division of e - 1
    # then gives the power of 2^32 for which the first digit, |value| / 2^(32 top), lies in [1, 2^32).
    top = (np.frexp(values)[1] - 1) // _BITS
    rest = np.ldexp(values, -_BITS * top)
    limbs: list[np.ndarray] = []
    # A digit and the fraction behind it have no more bits than the value; powers of 2 move its point alone.
    # 53 bits span three digits at most, 1 + 32 + 20 bits: the fourth is 0 until sums are moved down.
    for _ in range(LIMBS):
        whole = np.trunc(rest)
        limbs.append(whole.astype(np.int64))
        rest = np.ldexp(rest - whole, _BITS)
    return ExactSum(np.stack(limbs, axis=1), np.where(values == 0, _NOTHING, top).astype(np.int32))


def _lowered(
    limbs: Int[np.ndarray, "row limb column"], places: Int[np.ndarray, "row column"]
) -> Int[np.ndarray, "row limb column"]:
    """Move limbs down by some places; what falls out at the bottom is left out."""
    # Limbs are not carried into one another, so that what falls out is the same whether it falls out of each
    # value or of their sum: this makes adding associative.
    source = np.arange(LIMBS)[None, :, None] - places[:, None, :]
    moved = np.take_along_axis(limbs, source.clip(0, LIMBS - 1), axis=1)
    return np.where((source >= 0) & (source < LIMBS), moved, 0)

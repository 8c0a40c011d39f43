"""Exact sums: any order and any grouping give the same bits, and the right value."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.capture.exact import ExactSum

NUMBERS = st.floats(min_value=-1e150, max_value=1e150, allow_nan=False)
LISTS = st.lists(st.one_of(NUMBERS, st.floats(-100, 100)), min_size=1, max_size=12)


def summed(values: list[float]) -> ExactSum:
    total = ExactSum.zero(1, 1)
    for value in values:
        total.add(np.array([[value]]))
    return total


def bits(total: ExactSum) -> tuple[bytes, bytes, bytes]:
    return total.limbs.tobytes(), total.top.tobytes(), total.rounded().tobytes()


@given(LISTS, st.randoms())
def test_the_order_of_addition_changes_no_bit(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bits(summed(values)) == bits(summed(shuffled))


@given(LISTS, LISTS, LISTS)
def test_merging_is_associative_and_commutative(
    one: list[float], two: list[float], three: list[float]
) -> None:
    left = summed(one)
    left.merge(summed(two))
    left.merge(summed(three))
    right = summed(three)
    right.merge(summed(two))
    right.merge(summed(one))
    assert bits(left) == bits(right) == bits(summed([*one, *two, *three]))


@given(LISTS)
def test_the_sum_is_right_to_the_last_bits_of_its_largest_value(values: list[float]) -> None:
    true = sum(map(Fraction, values))
    largest = max(Fraction(abs(value)) for value in values)
    found = Fraction(float(summed(values).rounded()[0, 0]))
    assert abs(found - true) <= abs(true) / 2**51 + largest * len(values) / 2**95


def test_what_plain_addition_loses_is_kept() -> None:
    assert summed([1e16, 1.0, -1e16]).rounded().item() == 1.0
    assert sum([1e16, 1.0, -1e16]) == 0.0


def test_a_sum_of_nothing_and_of_zeros_is_zero() -> None:
    assert summed([0.0, -0.0]).rounded().item() == 0.0
    assert bits(summed([0.0, 2.5])) == bits(summed([2.5]))


def test_columns_are_summed_side_by_side() -> None:
    total = ExactSum.zero(2, 3)
    total.add(np.array([[1.0, 2e-30, 3.0], [4e200, 5.0, -6.0]]))
    total.add(np.array([[1.0, 2e30, 3.0], [4.0, 5.0, 6.0]]))
    assert total.rounded().tolist() == [[2.0, 2e30, 6.0], [4e200, 10.0, 0.0]]

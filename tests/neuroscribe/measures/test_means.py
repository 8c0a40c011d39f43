from collections.abc import Callable

import numpy as np
import pytest

from neuroscribe.measures.means import mean_interval


def test_of_three_values_the_interval_is_students() -> None:
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.3027 / np.sqrt(3), 2 + 4.3027 / np.sqrt(3)), abs=1e-4)


def test_two_values_and_values_all_alike_have_no_interval() -> None:
    assert mean_interval([0.2, 0.6]) == (None, None)
    assert mean_interval([0.5] * 9) == (None, None)


def test_many_values_have_the_interval_of_the_normal_distribution() -> None:
    low, high = mean_interval([0.0, 1.0] * 400)
    assert (low, high) == pytest.approx(
        (0.5 - 1.963 * 0.5 / np.sqrt(799), 0.5 + 1.963 * 0.5 / np.sqrt(799)), abs=1e-4
    )


def test_the_interval_of_skewed_values_reaches_farther_to_the_side_of_the_tail() -> None:
    values = [0.0, 0.01, 0.02, 0.03, 0.05, 0.9]
    low, high = mean_interval(values)
    assert low is not None
    assert high is not None
    assert high - np.mean(values) > 1.3 * (np.mean(values) - low)


def test_the_interval_stays_within_the_range_of_the_values() -> None:
    assert mean_interval([-0.9, 0.0, 0.9], least=-1.0, most=1.0) == (-1.0, 1.0)


def normal(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.normal(0.2, 0.2, size=count)


def exponential(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.exponential(0.2, size=count)


@pytest.mark.parametrize("count", [5, 10, 20, 50])
@pytest.mark.parametrize("draw", [normal, exponential])
def test_the_interval_covers_the_mean_of_normal_and_of_exponential_values(
    draw: Callable[[np.random.Generator, int], np.ndarray], count: int
) -> None:
    generator = np.random.default_rng(0)
    held: list[bool] = []
    for _ in range(600):
        low, high = mean_interval(draw(generator, count))
        assert low is not None
        assert high is not None
        held.append(low <= 0.2 <= high)
    assert np.mean(held) >= 0.93

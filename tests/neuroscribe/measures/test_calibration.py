"""Maps from simulated values to activations, worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.calibration import linear, percentile

SIMULATED = np.array([0.0, 0, 0, 0, 3])
TRUTH = np.array([-0.1, -0.1, 0, 5, 9])
PAIRS = arrays(np.float64, (2, 12), elements=st.integers(-40, 40).map(lambda value: value / 4))


def test_values_that_are_equal_become_the_mean_of_their_truths() -> None:
    # (-0.1 - 0.1 + 0 + 5) / 4; halfway to 3 lies halfway to 9
    assert percentile(SIMULATED, TRUTH)(np.array([0, 1.5, 3])).tolist() == pytest.approx([1.2, 5.1, 9])


def test_the_order_of_tokens_is_no_matter_to_percentiles_and_values_beyond_the_ends_stay_there() -> None:
    shuffled = percentile(SIMULATED[::-1].copy(), TRUTH[[2, 4, 0, 3, 1]])

    assert shuffled(np.array([-7.0, 0, 3, 10])).tolist() == pytest.approx([1.2, 1.2, 9, 9])


def test_the_line_is_that_of_least_squares() -> None:
    # means 2 and 3; slope (1 x 2 + 1 x 2) / 2 = 2, intercept 3 - 2 x 2
    line = linear(np.array([1.0, 2, 3]), np.array([1.0, 3, 5]) + np.array([0.5, -1, 0.5]))

    assert line(np.array([0.0, 1])).tolist() == pytest.approx([-1, 1])


def test_a_line_has_the_mean_of_the_truth_and_its_spread_times_the_correlation() -> None:
    """The paper's calibration, which makes the explained variance the square of the correlation."""
    simulated, truth = np.array([0.0, 1, 4, 2, 9]), np.array([1.0, 0, 3, 3, 5])
    rho = float(np.corrcoef(simulated, truth)[0, 1])

    values = linear(simulated, truth)(simulated)

    assert values.mean() == pytest.approx(truth.mean())
    assert values.std() == pytest.approx(rho * truth.std())
    assert 1 - ((truth - values) ** 2).mean() / truth.var() == pytest.approx(rho**2)


def test_a_prediction_of_the_opposite_becomes_the_mean_and_no_right_one() -> None:
    assert linear(-TRUTH, TRUTH)(np.array([-9.0, 0, 9])).tolist() == pytest.approx([TRUTH.mean()] * 3)


@pytest.mark.parametrize("value", [0.0, 0.1, 2.0, 9.95])
@pytest.mark.parametrize("length", [3, 39])
def test_a_constant_simulation_becomes_the_mean_whatever_its_value_and_length(
    value: float, length: int
) -> None:
    truth = np.arange(length, dtype=np.float64)
    constant = np.full(length, value)

    for fit in (linear, percentile):
        assert fit(constant, truth)(np.array([value])).tolist() == pytest.approx([truth.mean()])
    assert linear(constant, truth)(np.array([0.0, 10])).tolist() == pytest.approx([truth.mean()] * 2)


@pytest.mark.parametrize("fit", [linear, percentile])
def test_a_constant_truth_is_given_back(fit) -> None:
    assert fit(SIMULATED, np.full(5, 0.7))(np.array([0.0, 2, 9])).tolist() == pytest.approx([0.7] * 3)


@pytest.mark.parametrize("fit", [linear, percentile])
@settings(deadline=None, max_examples=60)
@given(pairs=PAIRS)
def test_more_never_becomes_less_and_the_mean_is_kept(fit, pairs: np.ndarray) -> None:
    values = fit(pairs[0], pairs[1])(pairs[0])

    assert (np.diff(values[np.argsort(pairs[0], kind="stable")]) >= -1e-9).all()
    assert values.mean() == pytest.approx(pairs[1].mean(), abs=1e-9)

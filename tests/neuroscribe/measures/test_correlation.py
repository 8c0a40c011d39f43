import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.agreement import correlation
from neuroscribe.measures.estimate import Estimate

VALUES = arrays(np.float64, (6, 4), elements=st.floats(-100, 100).map(lambda value: round(value, 3)))
TRUTH = np.array([[0.0, 0, 6, 0], [0, 0, 0, 3], [0, 0, 0, 0]])


def value(truth: np.ndarray, simulated: np.ndarray) -> Estimate:
    return correlation(truth, simulated, samples=200, seed=0)


def test_a_correlation_worked_by_hand() -> None:
    # x about its mean: -1.5 -0.5 0.5 1.5 (5); y: -1 0 -1 2 (6); products: 1.5 0 -0.5 3 = 4
    found = value(np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 2], [1, 4]]))
    assert found.value == pytest.approx(4 / (5 * 6) ** 0.5)


def test_an_oracle_scores_one_and_its_opposite_minus_one() -> None:
    assert value(TRUTH, 10 * TRUTH / 6).value == pytest.approx(1)
    assert value(TRUTH, 10 - 10 * TRUTH / 6).value == pytest.approx(-1)


def test_tokens_are_pooled_over_sequences() -> None:
    truth = np.array([[0.0, 1, 2], [10, 11, 12]])
    simulated = np.array([[0.0, 1, 2], [0, 1, 2]])  # each sequence alone would score 1
    assert value(truth, simulated).value == pytest.approx(np.corrcoef(truth.ravel(), simulated.ravel())[0, 1])
    assert value(truth, simulated).value < 0.2


@given(VALUES, VALUES)
def test_the_correlation_is_that_of_numpy(truth: np.ndarray, simulated: np.ndarray) -> None:
    found = correlation(truth, simulated, samples=0, seed=0)
    if np.ptp(truth) == 0 or np.ptp(simulated) == 0:
        assert found.value is None
    else:
        assert found.value == pytest.approx(np.corrcoef(truth.ravel(), simulated.ravel())[0, 1], abs=1e-9)


@given(VALUES, VALUES, st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_scale_and_offset_change_nothing(
    truth: np.ndarray, simulated: np.ndarray, scale: float, offset: float
) -> None:
    one = correlation(truth, simulated, samples=0, seed=0)
    other = correlation(truth, scale * simulated + offset, samples=0, seed=0)
    assert (one.value is None) == (other.value is None)
    assert one.value is None or other.value == pytest.approx(one.value, abs=1e-6)


@given(VALUES, VALUES)
def test_the_interval_holds_the_value(truth: np.ndarray, simulated: np.ndarray) -> None:
    found = correlation(truth, simulated, samples=50, seed=1)
    if found.value is not None:
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert -1 <= found.ci_low <= found.value <= found.ci_high <= 1


def test_the_interval_follows_from_the_seed() -> None:
    generator = np.random.default_rng(0)
    truth, noise = generator.random((8, 5)), generator.random((8, 5))
    first, again, other = (correlation(truth, truth + noise, samples=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value
    assert (first.ci_low, first.ci_high) != (other.ci_low, other.ci_high)


def test_the_interval_is_that_of_draws_of_whole_sequences() -> None:
    generator = np.random.default_rng(3)
    truth = generator.random((5, 3))
    simulated = truth + generator.random((5, 3))
    draws = [
        np.corrcoef(truth[picked].ravel(), simulated[picked].ravel())[0, 1]
        for picked in generator.integers(0, 5, size=(4000, 5))
        if len(set(picked)) > 1
    ]
    found = correlation(truth, simulated, samples=4000, seed=0)
    assert [found.ci_low, found.ci_high] == pytest.approx(
        np.quantile(draws, (0.025, 0.975)).tolist(), abs=0.03
    )


def test_more_sequences_give_a_narrower_interval() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random((60, 5))
    simulated = truth + generator.random((60, 5))
    few, many = (correlation(truth[:n], simulated[:n], samples=500, seed=0) for n in (5, 60))
    assert many.ci_high - many.ci_low < few.ci_high - few.ci_low


def test_one_sequence_has_a_value_and_no_interval() -> None:
    found = value(np.array([[0.0, 1, 3]]), np.array([[0.0, 1, 2]]))
    assert found.value is not None
    assert (found.ci_low, found.ci_high) == (None, None)


@pytest.mark.parametrize(
    ("truth", "simulated", "reason"),
    [
        (np.zeros((2, 3)), np.arange(6.0).reshape(2, 3), "constant truth"),
        (np.full((2, 3), 0.1), np.arange(6.0).reshape(2, 3), "constant truth"),
        (np.arange(6.0).reshape(2, 3), np.full((2, 3), 7.3), "constant simulation"),
        (np.arange(6.0).reshape(2, 3), np.full((2, 3), 1e9 + 0.1), "constant simulation"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "no sequences to score on"),
        (
            np.arange(4.0).reshape(2, 2),
            np.array([[np.nan, 1], [2, np.inf]]),
            "no readable value at 2 of 4 tokens",
        ),
    ],
)
def test_an_undefined_score_is_null_with_its_reason(
    truth: np.ndarray, simulated: np.ndarray, reason: str
) -> None:
    assert value(truth, simulated) == Estimate(None, None, None, reason)


def test_activations_of_any_size_are_scored() -> None:
    for size in (1e-30, 1e-13, 1e30):
        assert value(size * TRUTH, TRUTH).value == pytest.approx(1)


def test_draws_of_sequences_that_are_constant_are_left_out_of_the_interval() -> None:
    found = value(TRUTH, TRUTH + 0.1)
    assert (found.ci_low, found.ci_high) == (pytest.approx(1), pytest.approx(1))

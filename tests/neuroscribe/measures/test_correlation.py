import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate

VALUES = arrays(np.float64, (6, 4), elements=st.floats(-100, 100).map(lambda value: round(value, 3)))
TRUTH = np.array([[0.0, 0, 6, 0], [0, 0, 0, 3], [0, 0, 0, 0]])


def found(truth: np.ndarray, simulated: np.ndarray, draws: Draws | None = None) -> Estimate:
    return correlations(truth[None], simulated[None], draws or Draws.all_of(1, len(truth)))[0]


def test_a_correlation_worked_by_hand() -> None:
    # x about its mean: -1.5 -0.5 0.5 1.5 (5); y: -1 0 -1 2 (6); products: 1.5 0 -0.5 3 = 4
    value = found(np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 2], [1, 4]])).value

    assert value == pytest.approx(4 / (5 * 6) ** 0.5)


def test_a_sequence_that_stands_for_three_counts_as_three() -> None:
    generator = np.random.default_rng(0)
    truth, simulated = generator.random((4, 5)), generator.random((4, 5))
    draws = Draws(np.array([[0, 0, 1, 1]]), np.array([[6.0, 6, 2, 2]]))  # weights 3 3 1 1
    rows = [0, 0, 0, 1, 1, 1, 2, 3]

    value = found(truth, simulated, draws).value

    assert value == pytest.approx(np.corrcoef(truth[rows].ravel(), simulated[rows].ravel())[0, 1])


def test_an_oracle_scores_one_and_its_opposite_minus_one() -> None:
    assert found(TRUTH, 10 * TRUTH / 6).value == pytest.approx(1)
    assert found(TRUTH, 10 - 10 * TRUTH / 6).value == pytest.approx(-1)


def test_tokens_are_pooled_over_sequences() -> None:
    truth = np.array([[0.0, 1, 2], [10, 11, 12]])
    simulated = np.array([[0.0, 1, 2], [0, 1, 2]])  # each sequence alone would score 1

    value = found(truth, simulated).value

    assert value == pytest.approx(np.corrcoef(truth.ravel(), simulated.ravel())[0, 1])
    assert value < 0.2


@given(VALUES, VALUES)
def test_the_correlation_is_that_of_numpy(truth: np.ndarray, simulated: np.ndarray) -> None:
    value = found(truth, simulated).value

    if np.ptp(truth) == 0 or np.ptp(simulated) == 0:
        assert value is None
    else:
        assert value == pytest.approx(np.corrcoef(truth.ravel(), simulated.ravel())[0, 1], abs=1e-9)


@given(VALUES, VALUES, st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_scale_and_offset_change_nothing(
    truth: np.ndarray, simulated: np.ndarray, scale: float, offset: float
) -> None:
    one, other = found(truth, simulated), found(truth, scale * simulated + offset)

    assert (one.value is None) == (other.value is None)
    assert one.value is None or other.value == pytest.approx(one.value, abs=1e-6)


@given(VALUES, VALUES)
def test_the_interval_has_a_width_and_holds_the_value(truth: np.ndarray, simulated: np.ndarray) -> None:
    score = found(truth, simulated)

    if score.value is not None:
        assert -1 <= score.ci_low <= score.value <= score.ci_high <= 1
        assert score.ci_high - score.ci_low > 1e-3


def test_more_sequences_give_a_narrower_interval() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random((60, 5))
    simulated = truth + generator.random((60, 5))

    few, many = (found(truth[:n], simulated[:n]) for n in (5, 60))

    assert many.ci_high - many.ci_low < few.ci_high - few.ci_low


def test_one_sequence_has_a_value_and_no_interval() -> None:
    score = found(np.array([[0.0, 1, 3]]), np.array([[0.0, 1, 2]]))

    assert score.value is not None
    assert (score.ci_low, score.ci_high) == (None, None)


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
    assert found(truth, simulated) == Estimate(None, None, None, reason)


def test_activations_of_any_size_are_scored() -> None:
    for size in (1e-160, 1e-30, 1e30, 1e160):
        assert found(size * TRUTH, TRUTH).value == pytest.approx(1)

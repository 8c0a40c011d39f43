"""Standard errors worked by hand, their parts against slopes taken by steps, and coverage of intervals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.agreement import correlations, cosines, f1s
from neuroscribe.measures.average_precision import average_precision
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.intervals import standard_errors


def error(
    influence: list[float], stratum: list[int], size: list[float], *, finite: bool = True
) -> tuple[float, float]:
    draws = Draws(np.array([stratum]), np.array([size], dtype=np.float64), finite=finite)
    found, degrees = standard_errors(np.array([influence], dtype=np.float64), draws)
    return float(found[0]), float(degrees[0])


def test_a_weight_is_the_size_of_a_stratum_over_the_draws_of_it() -> None:
    draws = Draws(np.array([[0, 1, 1], [2, 2, 2]]), np.array([[5.0, 8, 8], [6, 6, 6]]))

    assert draws.weights.tolist() == [[5, 4, 4], [2, 2, 2]]


def test_a_standard_error_worked_by_hand() -> None:
    # 10 sequences, 2 drawn, influences 1 and 3: 10² (1 - 2/10) x 2 / 2 = 80 with one degree of freedom;
    # 6 sequences, 3 drawn, influences 0 3 3: 6² (1 - 3/6) x 3 / 3 = 18 with two
    found, degrees = error([1, 3, 0, 3, 3], [0, 0, 1, 1, 1], [10, 10, 6, 6, 6])

    assert found == pytest.approx(98**0.5)
    assert degrees == pytest.approx(98**2 / (80**2 / 1 + 18**2 / 2))


def test_sequences_of_one_document_are_one_observation() -> None:
    # Two documents of influence 1 + 2 and 4 + 1, one of 0: sums 3, 5, 0 about 8/3, squares 12.667.
    influence, documents = np.array([[1.0, 4, 2, 0, 1]]), np.array([7, 3, 7, 9, 3])
    found, degrees = standard_errors(influence, Draws.all_of(1, 5, documents))

    assert found[0] ** 2 == pytest.approx(3 * (38 / 3) / 2)
    assert degrees.tolist() == [2]


def test_text_that_is_there_twice_within_its_documents_says_no_more() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((1, 30, 4))
    simulated = truth + generator.random((1, 30, 4))
    once = correlations(truth, simulated, Draws.all_of(1, 30))[0]
    twice = [np.repeat(values, 2, axis=1) for values in (truth, simulated)]
    (found,) = correlations(*twice, Draws.all_of(1, 60, np.repeat(np.arange(30), 2)))

    assert found.value == pytest.approx(once.value)
    assert once.ci_low is not None
    assert found.ci_low == pytest.approx(once.ci_low, abs=0.01)


def test_one_document_has_no_interval() -> None:
    values = np.random.default_rng(0).random((1, 6, 4))
    (found,) = correlations(values, values**2, Draws.all_of(1, 6, np.zeros(6, dtype=np.int64)))

    assert found.value is not None
    assert found.ci_low is None


def test_what_was_drawn_whole_is_known_unless_it_is_itself_a_sample() -> None:
    whole = {"influence": [1.0, 3, 2], "stratum": [0, 0, 0], "size": [3.0, 3, 3]}

    assert error(**whole)[0] == 0
    assert error(**whole, finite=False) == (pytest.approx(3**0.5), pytest.approx(2))


def test_a_stratum_with_a_single_draw_shares_the_spread_with_its_neighbour() -> None:
    # 0, 1 and 2 together: influences 4 1 1, variance 3; their sizes 5 and 4 leave 5 x 4 + 2 x 2 x 1 unknown
    assert error([4, 1, 1], [0, 1, 1], [5, 4, 4])[0] == pytest.approx((3 * (20 + 4)) ** 0.5)
    assert error([1, 1, 4], [0, 0, 1], [4, 4, 5])[0] == pytest.approx((3 * (20 + 4)) ** 0.5)
    assert error([1, 2, 6], [0, 1, 2], [1, 1, 2])[0] == pytest.approx((7 * 2) ** 0.5)


def test_one_sequence_in_all_leaves_no_degree_of_freedom() -> None:
    assert error([2.0], [0], [9.0])[1] == 0


@given(
    arrays(np.bool_, 12),
    arrays(np.int8, 12, elements=st.integers(0, 4)),
    arrays(np.float64, 12, elements=st.floats(0.5, 9)),
)
@settings(deadline=None, max_examples=40)
def test_an_average_precision_moves_by_a_weight_as_it_says(
    fires: np.ndarray, simulated: np.ndarray, weights: np.ndarray
) -> None:
    def precision(weight: np.ndarray) -> float:
        at = [weight[fires & (simulated >= s)].sum() / weight[simulated >= s].sum() for s in simulated[fires]]
        return float((weight[fires] * at).sum() / max(weight[fires].sum(), 1e-9))

    value, influence = average_precision(fires[None], simulated[None].astype(float), weights[None])

    assert value[0] == pytest.approx(precision(weights))
    for token in range(12):
        step = 1e-5 * np.eye(12)[token]
        slope = (precision(weights + step) - precision(weights - step)) / 2e-5
        assert influence[0, token] == pytest.approx(slope, abs=1e-6)


def test_a_perfect_score_of_few_sequences_says_that_others_may_be_otherwise() -> None:
    truth = np.zeros((1, 10, 8))
    truth[0, :3, 2] = 5.0
    draws = Draws(np.array([[0] * 3 + [1] * 3 + [2] * 4]), np.array([[20.0] * 3 + [130] * 3 + [1380] * 4]))

    for measure, side in ((correlations, truth), (cosines, truth), (f1s, truth > 0)):
        score = measure(side, 2 * truth, draws)[0]
        assert score.value == pytest.approx(1)
        assert score.ci_low < 0.995


def test_intervals_of_stratified_draws_hold_the_value_of_the_whole_population() -> None:
    """A sparse neuron read with noise: 300 draws of 20 of 1,000 sequences, in strata by its own peak."""
    generator = np.random.default_rng(0)
    firing = generator.random((1000, 32)) < generator.beta(0.3, 10, (1000, 1))
    truth = firing * generator.gamma(2, 2, (1000, 32))
    simulated = truth + generator.normal(0, 1, truth.shape)
    whole = np.corrcoef(truth.ravel(), simulated.ravel())[0, 1]
    order, ends = np.argsort(-truth.max(1)), (0, 20, 100, 500, 1000)
    strata = [order[low:high] for low, high in pairwise(ends)]
    quota = (5, 6, 5, 4)

    def draw() -> np.ndarray:
        each = zip(strata, quota, strict=True)
        return np.concatenate([generator.permutation(stratum)[:n] for stratum, n in each])

    drawn = np.array([draw() for _ in range(300)])
    labels = np.tile(np.repeat(np.arange(4), quota), (300, 1))
    size = np.array([float(len(stratum)) for stratum in strata])[labels]

    scores = correlations(truth[drawn], simulated[drawn], Draws(labels, size))

    assert np.mean([score.value for score in scores]) == pytest.approx(whole, abs=0.02)
    assert 0.93 <= np.mean([score.ci_low <= whole <= score.ci_high for score in scores]) <= 0.99

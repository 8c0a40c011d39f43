"""Measures other than the correlation, and the arithmetic over many neurons that they all share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.agreement import (
    auprcs,
    correlations,
    cosines,
    deviations_explained,
    f1s,
    ious,
    ratios_explained,
    variances_explained,
)
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate

ALL = Draws.all_of(1, 2)
ONE_FOR_THREE = Draws(np.array([[0, 1]]), np.array([[1.0, 3]]))
TRUTH = np.array([[[0.0, 2.0], [4.0, 2.0]]])  # mean 2, deviations from it -2 0 2 0, squares 8
SIMULATED = np.array([[[1.0, 2.0], [2.0, 2.0]]])  # errors -1 0 2 0
FIRES = np.array([[[True, False], [True, True]]])
SAID = np.array([[[8.0, 8.0], [8.0, 0.0]]])
VALUES = arrays(np.float64, (3, 4, 5), elements=st.floats(-50, 50).map(lambda value: round(value, 2)))
OF_SIZES = [correlations, cosines, variances_explained, deviations_explained]
OF_FIRING = [f1s, ious, auprcs]


def test_an_explained_variance_worked_by_hand() -> None:
    assert variances_explained(TRUTH, SIMULATED, ALL)[0].value == pytest.approx(1 - 5 / 8)
    # mean (2 + 3 x 6) / 8 = 2.5; squares 6.25 .25 + 3 x (2.25 .25) = 14, errors 1 + 3 x 4 = 13
    assert variances_explained(TRUTH, SIMULATED, ONE_FOR_THREE)[0].value == pytest.approx(1 - 13 / 14)


def test_an_explained_deviation_worked_by_hand() -> None:
    assert deviations_explained(TRUTH, SIMULATED, ALL)[0].value == pytest.approx(1 - 3 / 8)
    assert deviations_explained(TRUTH, SIMULATED, ONE_FOR_THREE)[0].value == pytest.approx(1 - 7 / 20)


def test_a_ratio_explained_worked_by_hand() -> None:
    sums = np.array([[[4.0, 1.0], [2.0, 1.0]]])

    assert ratios_explained(sums, ALL)[0].value == pytest.approx(1 - 2 / 6)
    assert ratios_explained(sums, ONE_FOR_THREE)[0].value == pytest.approx(1 - 4 / 10)
    assert ratios_explained(0 * sums, ALL)[0].value is None


def test_a_cosine_worked_by_hand() -> None:
    # products 0 4 8 4, squares 24 and 13
    assert cosines(TRUTH, SIMULATED, ALL)[0].value == pytest.approx(16 / (24 * 13) ** 0.5)
    # 4 + 3 x 12 of 4 + 3 x 20 and 5 + 3 x 8
    assert cosines(TRUTH, SIMULATED, ONE_FOR_THREE)[0].value == pytest.approx(40 / (64 * 29) ** 0.5)


def test_f1_and_iou_worked_by_hand() -> None:
    # both fire at 2 tokens, the neuron at 3, the simulation at 3
    assert f1s(FIRES, SAID, ALL)[0].value == pytest.approx(2 / 3)
    assert ious(FIRES, SAID, ALL)[0].value == pytest.approx(2 / 4)
    # weighted 1 3: both 1 + 3, neuron 1 + 6, simulation 2 + 3
    assert f1s(FIRES, SAID, ONE_FOR_THREE)[0].value == pytest.approx(8 / 12)
    assert ious(FIRES, SAID, ONE_FOR_THREE)[0].value == pytest.approx(4 / 8)


def test_a_simulation_says_that_the_neuron_fires_from_five_on() -> None:
    said = np.array([[[5.0, 4.9], [5.0, 5.0]]])

    assert f1s(FIRES, said, ALL)[0].value == pytest.approx(1)


def test_an_average_precision_worked_by_hand() -> None:
    # At 8: 2 of 3 are right, and 2 of the neuron's 3; at 0: 3 of 4, and the last of the 3
    assert auprcs(FIRES, SAID, ALL)[0].value == pytest.approx((2 * 2 / 3 + 3 / 4) / 3)
    # weighted 1 3: at 8 4 of 5 are right, 4 of the neuron's 7; at 0 7 of 8, 3 of the 7
    assert auprcs(FIRES, SAID, ONE_FOR_THREE)[0].value == pytest.approx((4 * 4 / 5 + 3 * 7 / 8) / 7)


def test_a_constant_simulation_finds_firing_tokens_as_often_as_there_are() -> None:
    assert auprcs(FIRES, np.zeros(FIRES.shape), ALL)[0].value == pytest.approx(3 / 4)


def test_the_mean_explains_nothing_and_the_truth_everything_with_an_interval_that_has_a_width() -> None:
    mean = np.full_like(TRUTH, TRUTH.mean())
    assert variances_explained(TRUTH, mean, ALL)[0].value == pytest.approx(0)
    assert deviations_explained(TRUTH, np.zeros_like(TRUTH), ALL)[0].value == 0
    for measure in OF_SIZES:
        score = measure(TRUTH, TRUTH, ALL)[0]
        assert score.value == pytest.approx(1)
        assert score.ci_low < 0.999


def test_the_opposite_explains_less_than_nothing() -> None:
    assert variances_explained(TRUTH, 4 - TRUTH, ALL)[0].value == pytest.approx(1 - 32 / 8)


@pytest.mark.parametrize("measure", [*OF_SIZES, *OF_FIRING])
def test_silence_has_no_measure_and_says_why(measure) -> None:
    truth = np.zeros((1, 2, 3), dtype=bool if measure in OF_FIRING else float)

    found = measure(truth, np.arange(6.0).reshape(1, 2, 3), ALL)[0]

    assert found.value is None
    assert found.null_reason in (
        "constant truth",
        "truth is 0 at every token",
        "the neuron fires at no token",
    )


@pytest.mark.parametrize("measure", [*OF_SIZES, *OF_FIRING])
def test_what_one_neuron_lacks_is_nothing_to_the_others(measure) -> None:
    one = FIRES if measure in OF_FIRING else TRUTH
    truth = np.concatenate([one, np.zeros_like(one), one, one])
    unread = SIMULATED.copy()
    unread[0, 1, 0] = np.nan
    simulated = np.concatenate([SIMULATED, SIMULATED, unread, SIMULATED])

    first, silent, unreadable, last = measure(truth, simulated, Draws.all_of(4, 2))

    assert first == last == measure(one, SIMULATED, ALL)[0]
    assert silent.value is None
    assert unreadable.null_reason == "no readable value at 1 of 4 tokens"


@pytest.mark.parametrize("measure", [*OF_SIZES, *OF_FIRING])
def test_without_sequences_there_is_no_measure(measure) -> None:
    truth = np.zeros((1, 0, 3), dtype=bool if measure in OF_FIRING else float)

    found = measure(truth, np.zeros((1, 0, 3)), Draws.all_of(1, 0))

    assert found == [Estimate.missing("no sequences to score on")]


@given(VALUES, VALUES)
def test_many_neurons_at_once_are_scored_as_each_by_itself(truth: np.ndarray, simulated: np.ndarray) -> None:
    draws = Draws(np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 2, 3]]), np.arange(12.0).reshape(3, 4) + 4)
    for measure in (*OF_SIZES, *OF_FIRING):
        side = truth > 10 if measure in OF_FIRING else truth
        together = measure(side, simulated, draws)
        for place in range(3):
            own, alone = together[place], [place]
            assert own == measure(side[alone], simulated[alone], draws.of(np.array(alone)))[0]


@given(VALUES, VALUES)
def test_the_explained_variance_is_that_of_numpy_and_its_interval_holds_it(
    truth: np.ndarray, simulated: np.ndarray
) -> None:
    scores = variances_explained(truth, simulated, Draws.all_of(3, 4))
    for own, x, y in zip(scores, truth, simulated, strict=True):
        if own.value is None:
            assert np.ptp(x) == 0
        else:
            assert own.value == pytest.approx(1 - ((x - y) ** 2).mean() / x.var(), rel=1e-6, abs=1e-6)
            assert own.ci_low <= own.value <= own.ci_high <= 1

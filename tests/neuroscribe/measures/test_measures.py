"""Measures other than the correlation, and the arithmetic over many neurons that they all share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.measures.agreement import (
    contrasts,
    correlation,
    correlations,
    deviations_explained,
    variances_explained,
)
from neuroscribe.measures.estimate import Estimate

NO_DRAWS = {"samples": 0, "seed": 0}
TRUTH = np.array([[[0.0, 2.0], [4.0, 2.0]]])  # mean 2, deviations from it -2 0 2 0, squares 8
SIMULATED = np.array([[[1.0, 2.0], [2.0, 2.0]]])  # errors -1 0 2 0
VALUES = arrays(np.float64, (3, 4, 5), elements=st.floats(-50, 50).map(lambda value: round(value, 2)))


def test_an_explained_variance_worked_by_hand() -> None:
    assert variances_explained(TRUTH, SIMULATED, **NO_DRAWS)[0].value == pytest.approx(1 - 5 / 8)


def test_an_explained_deviation_worked_by_hand() -> None:
    assert deviations_explained(TRUTH, SIMULATED, **NO_DRAWS)[0].value == pytest.approx(1 - 3 / 8)


def test_a_contrast_worked_by_hand() -> None:
    # Simulation minus control is 1 -1 3 1 about 1: 0 -2 2 0 (8); truth -2 0 2 0 (8); products 4
    control = np.array([[[0.0, 3.0], [-1.0, 1.0]]])
    assert contrasts(TRUTH, SIMULATED, control, **NO_DRAWS)[0].value == pytest.approx(4 / 8)


def test_a_simulation_that_says_what_its_control_says_has_no_contrast() -> None:
    found = contrasts(TRUTH, SIMULATED, SIMULATED + 1, **NO_DRAWS)
    assert found == [Estimate.missing("the simulation is that under the control's explanation")]


def test_the_mean_explains_nothing_and_the_truth_everything() -> None:
    mean = np.full_like(TRUTH, TRUTH.mean())
    assert variances_explained(TRUTH, mean, **NO_DRAWS)[0].value == pytest.approx(0)
    for measure in (variances_explained, deviations_explained):
        assert measure(TRUTH, TRUTH, samples=50, seed=0)[0] == Estimate(1.0, 1.0, 1.0, None)
    assert deviations_explained(TRUTH, np.zeros_like(TRUTH), **NO_DRAWS)[0].value == 0


def test_the_opposite_explains_less_than_nothing() -> None:
    assert variances_explained(TRUTH, 4 - TRUTH, **NO_DRAWS)[0].value == pytest.approx(1 - 32 / 8)
    assert contrasts(TRUTH, 4 - TRUTH, np.zeros_like(TRUTH), **NO_DRAWS)[0].value == pytest.approx(-1)


@pytest.mark.parametrize("measure", [variances_explained, deviations_explained])
def test_silence_has_no_measure_and_says_why(measure) -> None:
    found = measure(np.zeros((1, 2, 3)), np.ones((1, 2, 3)), samples=20, seed=0)[0]
    assert found.value is None
    assert found.null_reason in ("constant truth", "truth is 0 at every token")


@pytest.mark.parametrize("measure", [correlations, variances_explained, deviations_explained])
def test_what_one_neuron_lacks_is_nothing_to_the_others(measure) -> None:
    truth = np.concatenate([TRUTH, np.zeros_like(TRUTH), TRUTH, TRUTH])
    unread = SIMULATED.copy()
    unread[0, 1, 0] = np.nan
    simulated = np.concatenate([SIMULATED, SIMULATED, unread, SIMULATED])
    first, silent, unreadable, last = measure(truth, simulated, samples=30, seed=1)
    assert first == last == measure(TRUTH, SIMULATED, samples=30, seed=1)[0]
    assert silent.value is None
    assert unreadable.null_reason == "no readable value at 1 of 4 tokens"


@pytest.mark.parametrize("measure", [correlations, variances_explained, deviations_explained])
def test_without_sequences_there_is_no_measure(measure) -> None:
    assert measure(np.zeros((1, 0, 3)), np.zeros((1, 0, 3)), samples=9, seed=0) == [
        Estimate.missing("no sequences to score on")
    ]


@given(VALUES, VALUES)
def test_many_neurons_at_once_are_scored_as_each_by_itself(truth: np.ndarray, simulated: np.ndarray) -> None:
    together = correlations(truth, simulated, samples=25, seed=3)
    for own, x, y in zip(together, truth, simulated, strict=True):
        alone = correlation(x, y, samples=25, seed=3)
        assert own.null_reason == alone.null_reason
        if own.value is not None:
            assert [own.value, own.ci_low, own.ci_high] == pytest.approx(
                [alone.value, alone.ci_low, alone.ci_high], abs=1e-9
            )


@given(VALUES, VALUES)
def test_the_explained_variance_is_that_of_numpy_and_its_interval_holds_it(
    truth: np.ndarray, simulated: np.ndarray
) -> None:
    for own, x, y in zip(
        variances_explained(truth, simulated, samples=25, seed=3), truth, simulated, strict=True
    ):
        if own.value is None:
            assert np.ptp(x) == 0
        else:
            assert own.value == pytest.approx(1 - ((x - y) ** 2).mean() / x.var(), rel=1e-6, abs=1e-6)
            assert own.ci_low <= own.value <= own.ci_high <= 1


def test_intervals_do_not_depend_on_how_many_neurons_are_scored_together() -> None:
    generator = np.random.default_rng(0)
    truth, noise = generator.random((700, 4, 3)), generator.random((700, 4, 3))
    together = correlations(truth, truth + noise, samples=200, seed=0)
    alone = correlation(truth[699], (truth + noise)[699], samples=200, seed=0)
    assert [together[699].ci_low, together[699].ci_high] == pytest.approx([alone.ci_low, alone.ci_high])

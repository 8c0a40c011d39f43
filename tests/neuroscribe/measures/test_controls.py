"""Explanations beside other neurons': p-values by hand, and how often chance alone is called better."""

import numpy as np
import pytest

from neuroscribe.measures.controls import beaten, chance, discoveries


def test_of_ten_controls_without_one_as_good_the_chance_is_at_most_one_in_eleven() -> None:
    assert chance(0.5, [0.4] * 10) == pytest.approx(1 / 11)


def test_each_control_as_good_adds_one_to_the_rank() -> None:
    assert chance(0.5, [0.1, 0.2, 0.5, 0.6]) == pytest.approx(3 / 5)


def test_far_above_controls_that_spread_little_the_chance_is_smaller_than_by_rank() -> None:
    # Mean 0, standard deviation 1: 3 is 3 / sqrt(1 + 1/3) = 2.598 of Student's t with 2 degrees, one-sided.
    assert chance(3.0, [-1.0, 0.0, 1.0]) == pytest.approx(0.0608, abs=1e-4)


def test_controls_that_differ_by_a_rounding_are_alike() -> None:
    alike = [0.1 + 0.2, 0.3, 0.3]
    assert len(set(alike)) == 2
    assert chance(0.6, alike) == pytest.approx(1 / 4)


def test_a_hundredth_above_controls_that_are_nearly_alike_is_no_discovery() -> None:
    # As if they spread by .01: .0099 is .94 of Student's t with 9 degrees.
    assert chance(0.01, [None] * 9 + [0.001]) == pytest.approx(min(1 / 11, 0.1856), abs=1e-3)
    assert chance(0.05, [None] * 9 + [0.001]) == pytest.approx(0.0005, abs=1e-4)


def test_a_control_without_a_score_has_said_nothing() -> None:
    assert chance(0.1, [None, 0.2]) == pytest.approx(2 / 3)
    assert chance(-0.1, [None]) == pytest.approx(1.0)


def test_without_an_own_score_or_controls_there_is_no_chance() -> None:
    assert chance(None, [0.1]) is None
    assert chance(0.1, []) is None


def test_an_explanation_is_beaten_by_one_as_good() -> None:
    assert beaten(0.2, [0.1, 0.2])
    assert not beaten(0.2, [0.1, None])
    assert beaten(None, [])


def test_discoveries_worked_by_hand() -> None:
    # Limits of .05 k/5: .01, .02, .03, .04, .05; the third is the last below its limit.
    assert discoveries([0.001, 0.021, 0.028, 0.2, 0.9]) == [True, True, True, False, False]
    assert discoveries([]) == []
    assert discoveries([0.06]) == [False]


def test_chance_alone_is_rarely_called_better() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 0.1, (400, 11))
    p_values = [chance(row[0], list(row[1:])) for row in scores]
    known = [p for p in p_values if p is not None]
    assert np.mean(np.array(known) <= 0.05) < 0.08
    assert np.mean(discoveries(known)) <= 0.01

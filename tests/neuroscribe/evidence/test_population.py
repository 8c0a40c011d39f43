"""A population gives as many exemplars as the paper's regimes take, each of them once."""

import numpy as np
import pytest

from neuroscribe.evidence.population import Population
from tests.neuroscribe.score.known_layer import NEURONS, Layer


def population(peaks: list[float], top: int) -> Population:
    truth, order = np.array(peaks)[:, None], np.arange(len(peaks))
    return Population(order + 100, truth, truth, order, order[::-1], top=top)


@pytest.mark.parametrize("top", [1, 2, 3, 4, 5])
def test_a_share_of_the_top_list_that_is_too_small_is_filled_up_with_the_next_largest_peaks(top: int) -> None:
    shown = population([float(-place) for place in range(30)], top).top_and_random(5)

    assert shown.sequence_ids == (100, 101, 102, 103, 104, 129, 128, 127, 126, 125)
    assert shown.kinds == ("top",) * 5 + ("random",) * 5


def test_of_a_large_top_those_at_even_distances_are_shown() -> None:
    shown = population([float(-place) for place in range(30)], 10).top_and_random(5)

    assert shown.sequence_ids[:5] == (101, 103, 105, 107, 109)


def test_a_population_of_fewer_sequences_gives_all_of_them_once() -> None:
    assert sorted(population([3.0, 1, 2], 1).top_and_random(2).sequence_ids) == [100, 101, 102]
    assert population([], 1).top_and_random(2).sequence_ids == ()


def test_of_a_long_sample_the_values_of_a_few_neurons_are_held_at_a_time() -> None:
    evidence = Layer([]).evidence()
    first = evidence.truth((0, 1))
    assert evidence.truth((0, 1)) is first

    for neuron in range(1, NEURONS):
        evidence.truth((neuron, 1))

    again = evidence.truth((0, 1))
    assert again is not first
    assert np.array_equal(again.values, first.values)

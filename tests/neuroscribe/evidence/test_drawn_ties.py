"""Sequences that are equal in peak or nearness are all drawn as often as their weight says."""

import numpy as np

from neuroscribe.evidence.drawn import drawn

ORDERS = 3000


def how_often(peaks: np.ndarray, nearness: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each sequence is drawn over random orders, and the share of them that it should be."""
    generator = np.random.default_rng(0)
    often, expected = np.zeros((2, len(peaks)))
    for _ in range(ORDERS):
        draw = drawn(peaks, generator.permutation(len(peaks)), count=10, top=4, nearness=nearness)
        often[draw.places] += 1
        expected[draw.places] += np.array(draw.sizes) / np.array([draw.strata.count(s) for s in draw.strata])
    return often, expected / ORDERS


def test_silent_sequences_weigh_no_more_together_than_there_are() -> None:
    peaks = np.array([9.0, 8, 7, 6, 5, 4, 3, 2] + [0.0] * 32)

    _, weight = how_often(peaks, None)

    # Over many draws the weights of a sequence that it is drawn with add up to one, at any place.
    assert abs(weight[4:8].sum() - 4) < 0.3
    assert abs(weight[8:].sum() - 32) < 0.3


def test_sequences_that_are_equally_near_to_a_label_are_all_met_as_often_as_they_weigh() -> None:
    peaks = np.arange(40.0, 0, -1)
    nearness = (np.arange(40) % 3 == 0).astype(np.float64)

    _, weight = how_often(peaks, nearness)

    assert abs(weight[4:][nearness[4:] == 1].sum() - 12) < 0.3

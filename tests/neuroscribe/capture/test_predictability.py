"""How well tokens alone predict a neuron, from its exemplars."""

import numpy as np
import pytest

from neuroscribe.capture.predictability import predictability
from neuroscribe.tables.records import NEURON_RECORDS
from neuroscribe.testing.rows import exemplar_row, filled, sequence_table

TEXT = sequence_table([[0, 1, 2], [1, 0, 3], [0, 2, 1], [4, 1, 0]])


def told(*rows: dict[str, object], polarities: tuple[int, ...] = (1, -1)) -> list[tuple[object, ...]]:
    found = predictability(filled(NEURON_RECORDS, *rows), TEXT, 5, polarities)
    return found.rows()


def test_means_are_learned_on_train_and_valid_and_held_against_test():
    # Token 0 has 4 and 2, so 3; token 1 has 0 and 1, so .5; 2 has 0. On test: 3, 0, .5 beside 2, 1, 1.
    (row,) = told(
        exemplar_row(7, 0, [4.0, 0.0, 0.0], split="train"),
        exemplar_row(7, 1, [1.0, 2.0, 0.0], split="valid"),
        exemplar_row(7, 2, [2.0, 1.0, 1.0], split="test"),
    )
    assert row[:3] == (5, 7, 1)
    assert row[3] == pytest.approx(np.corrcoef([3.0, 0.0, 0.5], [2.0, 1.0, 1.0])[0, 1])
    assert row[4] == 1


def test_a_token_that_was_not_learned_is_what_is_usual_in_random_text():
    # Token 4 is new: the random sequence learned from has a mean of 1; token 1 has 0, 0 has 5.
    rows = [
        exemplar_row(7, 0, [5.0, 0.0, 9.0], split="train"),
        exemplar_row(7, 2, [5.0, -2.0, 0.0], split="valid", kind="random"),
        exemplar_row(7, 3, [3.0, 0.0, 4.0], split="test"),
    ]
    (row,) = told(*rows, polarities=(1,))
    assert row[3] == pytest.approx(np.corrcoef([1.0, 0.0, 5.0], [3.0, 0.0, 4.0])[0, 1])


def test_sides_are_told_apart_and_what_does_not_vary_has_no_value():
    rows = told(
        exemplar_row(2, 0, [-4.0, 0.0, 0.0], split="train", polarity=-1),
        exemplar_row(2, 2, [-2.0, 0.0, 0.0], split="test", polarity=-1),
        exemplar_row(2, 0, [-4.0, 0.0, 0.0], split="train"),
        exemplar_row(2, 2, [0.0, 1.0, 0.0], split="test"),
        exemplar_row(1, 0, [1.0, 0.0, 0.0], split="train"),
    )
    assert [(row[1], row[2], row[3], row[4]) for row in rows] == [
        (1, 1, None, 0),
        (2, 1, None, 1),
        (2, -1, pytest.approx(1.0), 1),
    ]


def test_neurons_that_are_worked_on_together_do_not_mix():
    rows = [
        row
        for neuron in range(150)
        for row in (
            exemplar_row(neuron, 0, [float(neuron), 1.0, 0.0], split="train"),
            exemplar_row(neuron, 2, [2.0, 0.0, 1.0], split="test"),
        )
    ]
    found = told(*rows, polarities=(1,))
    wanted = [np.corrcoef([n, 0.0, 1.0], [2.0, 0.0, 1.0])[0, 1] for n in range(150)]
    assert [row[3] for row in found] == pytest.approx(wanted)

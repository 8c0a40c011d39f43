"""How far a description explains its neuron, by rules that can be applied by hand."""

from dataclasses import replace

import pytest

from neuroscribe.describe.statuses import Standing
from neuroscribe.tables.descriptions import STATUSES

GOOD = Standing(score=0.3, ci_low=0.2, ceiling=0.5, control=0.1, p=0.01, guessed=0.2)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "explained"),
        ({"control": None}, "explained"),
        ({"ceiling": None}, "explained"),
        ({"ceiling": 0.6}, "token detector"),
        ({"control": 0.16}, "poorly explained"),
        ({"ci_low": 0.0}, "poorly explained"),
        ({"ci_low": None}, "poorly explained"),
        ({"p": 0.06}, "not explained"),
        ({"p": None}, "not explained"),
        ({"score": None}, "not explained"),
        ({"p": 0.06, "intruder_low": 0.2}, "nothing in common found"),
        ({"p": 0.06, "intruder_low": 0.3}, "not explained"),
        ({"p": 0.06, "intruder_low": 0.3, "guessed": 1 / 3}, "nothing in common found"),
        ({"intruder_low": 0.1}, "explained"),
    ],
)
def test_each_status_has_its_rule(changed: dict[str, float | None], status: str):
    assert replace(GOOD, **changed).status == status
    assert status in STATUSES


def test_nothing_known_is_not_explained():
    assert Standing().status == "not explained"

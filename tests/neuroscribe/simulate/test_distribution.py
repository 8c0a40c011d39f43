import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.simulate.distribution import digit_probabilities, expected_activations
from neuroscribe.simulate.prompts import HIDDEN, hidden_prompt


def probabilities(*tokens: dict[int, float]) -> np.ndarray:
    return np.array([[token.get(digit, 0.0) for digit in range(10)] for token in tokens])


def test_the_expected_value_is_taken_over_digits_and_stretched_to_ten() -> None:
    values, mass = expected_activations(
        probabilities({0: 0.5, 9: 0.3}, {9: 0.2}, {3: 0.1, 6: 0.1}, {0: 0.01})
    )
    # 9 x 0.3 / 0.8 = 3.375 and (3 + 6) / 2 = 4.5, each times 10 / 9
    assert values.tolist() == pytest.approx([3.75, 10.0, 5.0, 0.0])
    assert mass == pytest.approx((0.8 + 0.2 + 0.2 + 0.01) / 4)


def test_a_token_without_a_digit_has_no_value() -> None:
    values, mass = expected_activations(probabilities({}, {9: 1.0}))
    assert np.isnan(values[0])
    assert values[1] == 10
    assert mass == 0.5


@given(arrays(np.float64, (4, 10), elements=st.floats(1e-6, 1)))
def test_values_lie_between_zero_and_ten(digits: np.ndarray) -> None:
    values, _ = expected_activations(digits)
    assert ((values >= 0) & (values <= 10 + 1e-9)).all()


def test_digits_among_the_likeliest_tokens_have_their_probability_and_others_none() -> None:
    found = digit_probabilities({"0": math.log(0.5), "9": math.log(0.25), "10": -1.0, " 3": -1.0, "?": 0.0})
    assert found.tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.25])


@pytest.mark.parametrize("absurd", ["-1.0", True, False, 1000.0, 10**400, -(10**400), math.inf, math.nan, []])
def test_a_place_with_an_absurd_log_probability_has_no_digit(absurd: object) -> None:
    place: dict[str, Any] = {"0": math.log(0.5), "9": absurd}
    values, mass = expected_activations(digit_probabilities(place)[None])
    assert np.isnan(values[0])
    assert mass == 0


@pytest.mark.parametrize("nothing", [None, -math.inf, -9999])
def test_a_token_without_probability_says_nothing_against_the_others(nothing: float | None) -> None:
    place: dict[str, Any] = {"0": nothing, "9": math.log(0.5)}
    assert digit_probabilities(place).tolist() == pytest.approx([0.0] * 9 + [0.5])


def test_a_log_probability_a_little_above_zero_is_rounding() -> None:
    assert digit_probabilities({"9": 1e-6})[9] == pytest.approx(1.0, abs=1e-5)


@given(st.lists(st.binary(max_size=4) | st.text(max_size=3).map(str.encode), max_size=8))
def test_every_token_of_a_hidden_prompt_has_a_line_with_its_value_hidden(tokens: list[bytes]) -> None:
    text, places = hidden_prompt("colours", tokens)
    assert [text[place] for place in places] == [HIDDEN] * len(tokens)
    assert [text[place - 1] for place in places] == ["\t"] * len(tokens)
    own = text[text.rindex("Explanation: colours\n") :]
    assert own.splitlines() == own.split("\n")[:-1]
    assert len(own.splitlines()) == 2 + len(tokens)

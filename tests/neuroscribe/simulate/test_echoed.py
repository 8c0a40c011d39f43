"""The all-at-once simulator over a server: digits read at the hidden places of an echoed prompt."""

import asyncio
import math

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.ports import EchoedPrompt, Usage
from neuroscribe.simulate.echoed import EchoedSimulator
from neuroscribe.simulate.prompts import hidden_prompt


class CharacterServer:
    """Tokenises by character and gives a 6 at hidden places after `red`, else a 0 or what it is told."""

    identity = "characters"
    calls_at_once = 2

    def __init__(self, *, width: int = 1, digits: bool = True) -> None:
        self._width = width
        self._digits = digits

    async def echoed(self, prompt: str) -> EchoedPrompt:
        offsets = range(0, len(prompt), self._width)
        return EchoedPrompt(
            tuple(offsets), tuple(self._likeliest(prompt, place) for place in offsets), Usage(len(prompt))
        )

    async def probe(self) -> None:
        pass

    def _likeliest(self, prompt: str, place: int) -> dict[str, float]:
        if not self._digits:
            return {"x": 0.0}
        value = "6" if prompt[:place].endswith("red\t") else "0"
        return {value: math.log(0.3), "?": math.log(0.6), " 9": math.log(0.1)}


def test_the_expected_value_is_taken_over_the_digits_alone_and_stretched_to_ten() -> None:
    (simulated,) = asyncio.run(EchoedSimulator(CharacterServer()).simulate("red", [[b" red", b" car"]]))

    assert simulated.activations == pytest.approx((6 * 10 / 9, 0))
    assert simulated.valid_fraction == pytest.approx(0.3)


def test_a_place_without_digits_is_not_a_number_rather_than_nought() -> None:
    (simulated,) = asyncio.run(EchoedSimulator(CharacterServer(digits=False)).simulate("red", [[b" red"]]))

    assert math.isnan(simulated.activations[0])
    assert simulated.valid_fraction == 0


def test_a_tokenizer_that_joins_hidden_values_to_their_neighbours_is_refused() -> None:
    with pytest.raises(CapabilityError, match="do not begin a token"):
        asyncio.run(EchoedSimulator(CharacterServer(width=7)).simulate("red", [[b" red"] * 9]))


def test_hostile_tokens_keep_to_their_lines() -> None:
    tokens = [b"a\nb", b"\t", b"Explanation: all", "\u202e".encode(), b"\xff"]

    prompt, places = hidden_prompt("red", tokens)
    block = prompt[prompt.rindex("Tokens:\n") + len("Tokens:\n") :]

    assert len(block.splitlines()) == len(tokens)
    assert [prompt[place] for place in places] == ["?"] * len(tokens)

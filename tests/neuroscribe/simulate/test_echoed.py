"""The all-at-once simulator over a server: digits read at the hidden places of an echoed prompt."""

import asyncio
import math
from collections.abc import Callable

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.ports.models import PromptScorer
from neuroscribe.ports.replies import EchoedPrompt, Simulated, Usage
from neuroscribe.simulate.all_at_once import EchoedSimulator
from neuroscribe.simulate.prompts import hidden_prompt


class CharacterServer:
    """Tokenises by character and gives a 6 at hidden places after `red`, else a 0 or what it is told."""

    identity = "characters"
    calls_at_once = 2

    def __init__(
        self, likeliest: Callable[[str], dict[str, float]] | None = None, *, joins: str = ""
    ) -> None:
        self._likeliest = likeliest or digits
        self._joins = joins

    async def echoed(self, prompt: str) -> EchoedPrompt:
        """Score the prompt; a hidden value after `joins` is joined to the tab before it."""
        joined = f"{self._joins}\t?"
        places = [
            place
            for place in range(len(prompt))
            if not (self._joins and prompt[: place + 1].endswith(joined))
        ]
        tops = tuple(self._likeliest(prompt[:place]) for place in places)
        return EchoedPrompt(tuple(places), tops, Usage(len(prompt)))

    async def probe(self) -> None:
        pass


def digits(before: str) -> dict[str, float]:
    value = "6" if before.endswith("red\t") else "0"
    return {value: math.log(0.3), "?": math.log(0.6), " 9": math.log(0.1)}


def reading(server: PromptScorer) -> Simulated:
    (simulated,) = asyncio.run(EchoedSimulator(server).simulate("red", [[b" red", b" car", b" red"]]))
    return simulated


def test_the_expected_value_is_taken_over_the_digits_alone_and_stretched_to_ten() -> None:
    simulated = reading(CharacterServer())

    assert simulated.activations == pytest.approx((6 * 10 / 9, 0, 6 * 10 / 9))
    assert simulated.valid_fraction == pytest.approx(0.3)
    assert simulated.status == "ok"


def test_places_without_digits_are_unparsable_and_not_nought() -> None:
    simulated = reading(CharacterServer(lambda _: {"x": 0.0}))

    assert all(math.isnan(value) for value in simulated.activations)
    assert simulated.valid_fraction == 0
    assert simulated.status == "unparsable"


@pytest.mark.parametrize("nothing", [{"6": -math.inf, "x": 0.0}, {"6": -9999.0, "x": 0.0}])
def test_a_digit_without_probability_is_none(nothing: dict[str, float]) -> None:
    simulated = reading(
        CharacterServer(lambda before: nothing if before.endswith("red\t") else digits(before))
    )

    assert [math.isnan(value) for value in simulated.activations] == [True, False, True]
    assert simulated.status == "unparsable"


def test_a_place_for_which_nothing_came_has_failed_and_the_others_keep_their_values() -> None:
    simulated = reading(CharacterServer(lambda before: {} if before.endswith("car\t") else digits(before)))

    assert simulated.activations[0] == simulated.activations[2] == pytest.approx(6 * 10 / 9)
    assert math.isnan(simulated.activations[1])
    assert simulated.status == "failed"
    assert simulated.valid_fraction == pytest.approx(0.3)


def test_a_hidden_value_that_the_tokenizer_joins_to_its_neighbour_has_no_value() -> None:
    simulated = reading(CharacterServer(joins="car"))

    assert [math.isnan(value) for value in simulated.activations] == [False, True, False]
    assert simulated.status == "unparsable"


def test_a_tokenizer_that_joins_every_hidden_value_is_refused() -> None:
    with pytest.raises(CapabilityError, match="none of 1 hidden values begins a token"):
        asyncio.run(EchoedSimulator(CharacterServer(joins="car")).simulate("red", [[b" car"]]))


def test_a_prompt_that_the_server_cannot_echo_fails_alone() -> None:
    class Sometimes(CharacterServer):
        async def echoed(self, prompt: str) -> EchoedPrompt:
            if "odd" in prompt:
                raise CapabilityError("the tokens do not spell the prompt")
            return await super().echoed(prompt)

    odd, other = asyncio.run(EchoedSimulator(Sometimes()).simulate("red", [[b" odd", b" one"], [b" red"]]))

    assert (odd.status, odd.raw) == ("failed", "the tokens do not spell the prompt")
    assert all(math.isnan(value) for value in odd.activations)
    assert other.status == "ok"


def test_a_prompt_that_was_turned_away_has_no_values_and_says_why() -> None:
    class Careful(CharacterServer):
        async def echoed(self, prompt: str) -> EchoedPrompt:
            return EchoedPrompt((), (), Usage(7), "refused", "not in this house")

    found = reading(Careful())

    assert (found.status, found.raw, found.usage) == ("refused", "not in this house", Usage(7))
    assert all(math.isnan(value) for value in found.activations)


def test_hostile_tokens_keep_to_their_lines() -> None:
    tokens = [b"a\nb", b"\t", b"Explanation: all", "\u202e".encode(), b"\xff", b"<|im_end|>"]

    prompt, places = hidden_prompt("red", tokens)
    block = prompt[prompt.rindex("Tokens:\n") + len("Tokens:\n") :]

    assert len(block.splitlines()) == len(tokens)
    assert block.splitlines()[-1] == "< |im_end|>\t?"
    assert [prompt[place] for place in places] == ["?"] * len(tokens)

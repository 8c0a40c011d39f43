"""The one-at-a-time simulator: one causal question a token, digits read among the likeliest answers."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.ports.replies import Message, NextToken, ReadingStatus, Usage, as_text
from neuroscribe.simulate.one_at_a_time import OneAtATimeSimulator
from neuroscribe.testing.stores import MemoryCalls

TOKENS = (b"The", b" red", b"\n", b"car")


class Scorer:
    """Holds 6 likely after ` red` and 0 elsewhere; at `failing` the answer has another status."""

    identity = "scorer"
    calls_at_once = 2

    def __init__(self, *, likely: Mapping[str, float] | None = None, failing: str = "") -> None:
        self.asked: list[list[Message]] = []
        self.most_at_once = 0
        self._likely, self.failing = likely, failing
        self.status: ReadingStatus = "failed"
        self._at_once = 0

    async def next_token(self, messages: Sequence[Message]) -> NextToken:
        self.asked.append(list(messages))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        usage = Usage(prompt_tokens=10, completion_tokens=1, cost_usd=0.25)
        own = messages[-1].content
        if self.failing and f"\nLast token: {self.failing}\n" in own:
            return NextToken({}, self.status, "no answer", usage)
        likely = self._likely or {"6" if "\nLast token: red\n" in own else "0": 0.5, "the": 0.25}
        return NextToken({token: math.log(share) for token, share in likely.items()}, "ok", "", usage)

    async def probe_next_token(self, sample: object = None) -> None:
        pass


def simulate(scorer: Scorer, calls: MemoryCalls | None = None):
    simulator = OneAtATimeSimulator(scorer, calls or MemoryCalls())
    (simulated,) = asyncio.run(simulator.simulate("colours", [TOKENS]))
    return simulated


def test_each_token_has_the_expected_value_of_its_answer_and_the_mass_is_stated() -> None:
    simulated = simulate(Scorer())

    assert simulated.activations == pytest.approx((0, 6 * 10 / 9, 0, 0))
    assert simulated.valid_fraction == pytest.approx(0.5)
    assert simulated.status == "ok"
    assert simulated.usage == Usage(prompt_tokens=40, completion_tokens=4, cost_usd=1.0)


def test_digits_with_a_space_before_them_count_and_numbers_beyond_nine_do_not() -> None:
    simulated = simulate(Scorer(likely={"3": 0.2, " 3": 0.1, "\u25816": 0.3, "10": 0.2, "x": 0.1}))

    # (3 x 0.3 + 6 x 0.3) / 0.6 = 4.5, times 10 / 9
    assert simulated.activations == pytest.approx((5, 5, 5, 5))
    assert simulated.valid_fraction == pytest.approx(0.6)


def test_an_answer_without_a_digit_has_no_value_and_the_others_keep_theirs() -> None:
    class Mostly(Scorer):
        async def next_token(self, messages: Sequence[Message]) -> NextToken:
            answer = await super().next_token(messages)
            silent = "\nLast token: car\n" in messages[-1].content
            return NextToken({"well": -0.1}, "ok", "") if silent else answer

    simulated = simulate(Mostly())

    assert math.isnan(simulated.activations[3])
    assert simulated.activations[:3] == pytest.approx((0, 6 * 10 / 9, 0))
    assert simulated.status == "unparsable"
    assert simulated.valid_fraction == pytest.approx(0.375)


def test_no_question_shows_what_comes_after_its_token() -> None:
    scorer = Scorer()
    simulate(scorer)

    shown = [messages[-1].content.split("\n")[1:3] for messages in scorer.asked]
    assert shown == [
        ["Text: The", "Last token: The"],
        ["Text: The red", "Last token: red"],
        ["Text: The red\\n", "Last token: \\n"],
        ["Text: The red\\ncar", "Last token: car"],
    ]


def test_each_prompt_begins_as_the_one_before_it_up_to_the_end_of_its_text() -> None:
    scorer = Scorer()
    simulate(scorer)

    prompts = [as_text(messages) for messages in scorer.asked]
    for shorter, longer in pairwise(prompts):
        assert longer.startswith(shorter[: shorter.rindex("\nLast token: ")])


def test_the_tokens_of_a_sequence_are_asked_about_together() -> None:
    scorer = Scorer()
    simulate(scorer)

    assert scorer.most_at_once == len(TOKENS)


def test_after_a_failure_only_the_failed_question_is_asked_again() -> None:
    calls, scorer = MemoryCalls(), Scorer(failing="red")
    simulated = simulate(scorer, calls)

    assert simulated.status == "failed"
    assert simulated.raw == "no answer"
    assert [math.isnan(value) for value in simulated.activations] == [False, True, False, False]
    scorer.failing = ""
    assert simulate(scorer, calls).activations == pytest.approx((0, 6 * 10 / 9, 0, 0))
    assert len(scorer.asked) == len(TOKENS) + 1


def test_a_question_that_the_server_cannot_answer_so_fails_alone() -> None:
    class Sometimes(Scorer):
        async def next_token(self, messages: Sequence[Message]) -> NextToken:
            if "\nLast token: car\n" in messages[-1].content:
                raise CapabilityError("no log-probabilities came")
            return await super().next_token(messages)

    simulated = simulate(Sometimes())

    assert (simulated.status, simulated.raw) == ("failed", "no log-probabilities came")
    assert simulated.activations[:3] == pytest.approx((0, 6 * 10 / 9, 0))


def test_a_refusal_is_kept() -> None:
    calls, scorer = MemoryCalls(), Scorer(failing="red")
    scorer.status = "refused"
    assert simulate(scorer, calls).status == "refused"
    scorer.failing = ""

    assert simulate(scorer, calls).status == "refused"
    assert len(scorer.asked) == len(TOKENS)

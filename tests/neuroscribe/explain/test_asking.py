"""Explanations are asked for several at a time where the model has it, and each is stored by itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from neuroscribe.explain.asking import answers
from neuroscribe.explain.explainer import Shown
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.questions import Question
from neuroscribe.llm.calls import Once
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.testing.stores import MemoryCalls


class Batching:
    """A model that answers three prompts at a time with the last message of each, and its seed."""

    identity = "batching"
    calls_at_once = 1
    replies_at_once = 3

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def reply(self, messages: Sequence[Message], **given: Any) -> Reply:
        (reply,) = await self.replies([messages], **given)
        return reply

    async def replies(self, prompts: Sequence[Sequence[Message]], *, seed: int, **_: Any) -> list[Reply]:
        self.batches.append([messages[-1].content for messages in prompts])
        return [Reply(f"{messages[-1].content} {seed}", "ok", "") for messages in prompts]

    async def check(self, samples: object = ()) -> None:
        """Always there."""


class Broken(Batching):
    """One that breaks off at its second batch."""

    async def replies(self, prompts: Sequence[Sequence[Message]], **given: Any) -> list[Reply]:
        if self.batches:
            raise RuntimeError("killed")
        return await super().replies(prompts, **given)


def question(neuron: int, candidate: int = 0) -> Question:
    shown = Shown((), (Message("user", f"n{neuron}"),))
    return Question((neuron, 1), "own", Highlights(), shown, candidate)


def asked(llm: Batching, questions: list[Question], calls: MemoryCalls) -> list[str | None]:
    made = asyncio.run(answers(questions, llm, Once(calls), lambda _: None))
    return [reply.text for reply in made]


def test_questions_of_one_seed_are_asked_together() -> None:
    llm = Batching()
    every = [question(neuron, candidate) for neuron in range(4) for candidate in range(2)]

    assert asked(llm, every, MemoryCalls()) == [f"n{n} {seed}" for n in range(4) for seed in range(2)]
    assert llm.batches == [["n0", "n1", "n2"], ["n3"], ["n0", "n1", "n2"], ["n3"]]


def test_after_a_kill_only_what_was_under_way_is_asked_again() -> None:
    calls, every = MemoryCalls(), [question(neuron) for neuron in range(5)]
    with pytest.raises(RuntimeError, match="killed"):
        asked(Broken(), every, calls)

    again = Batching()
    assert asked(again, every, calls) == [f"n{neuron} 0" for neuron in range(5)]
    assert again.batches == [["n3", "n4"]]


def test_a_model_that_answers_one_at_a_time_is_asked_so() -> None:
    llm = Batching()
    llm.replies_at_once = 1

    assert asked(llm, [question(neuron) for neuron in range(2)], MemoryCalls()) == ["n0 0", "n1 0"]
    assert llm.batches == [["n0"], ["n1"]]


class Forgetful(MemoryCalls):
    """A store that loses what it is given after two answers, as one that is killed under way."""

    def put(self, key: str, answer: Any) -> None:
        if len(list(self.keys())) < 2:
            super().put(key, answer)


def test_a_batch_of_which_some_answers_are_stored_is_asked_whole_so_that_it_is_answered_as_before() -> None:
    calls, every = Forgetful(), [question(neuron) for neuron in range(3)]
    asked(Batching(), every, calls)
    assert len(list(calls.keys())) == 2

    again = Batching()
    assert asked(again, every, calls) == [f"n{neuron} 0" for neuron in range(3)]
    assert again.batches == [["n0", "n1", "n2"]]

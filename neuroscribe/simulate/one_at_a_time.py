"""The paper's one-at-a-time simulator: one request a token, digits read among the likeliest first answers.

Causal: a request shows the text up to and including its token and asks for the value of that token, so that
nothing after a token can change its value. The requests of a sequence are made in order and together; each
begins like the one before it for longer, which servers with a prefix cache read once. A token that cannot be
read has no value; the others keep theirs.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import InFlight, answered_once, first_token
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, NextToken, Simulated, Usage
from neuroscribe.ports.stores import CallStore
from neuroscribe.simulate.distribution import answer_probabilities, expected_reading
from neuroscribe.simulate.prompts import conversation
from neuroscribe.study.prompts import prompt_identity, wording
from neuroscribe.text.escaping import escaped, unforged

LAYOUT = "one_at_a_time"
_ANSWERS = 1
"""Raise when the code that asks changes what the same prompt is answered with."""


class OneAtATimeSimulator:
    """Fulfils the `Simulator` port; every answer is kept in `calls` before its sequence is read."""

    keeps_calls = True
    """A reading's tokens and money are those of calls that are kept, and counted, by themselves."""

    def __init__(self, scorer: NextTokenScorer, calls: CallStore) -> None:
        self._scorer = scorer
        self._calls = calls
        self._in_flight: InFlight = {}

    @property
    def identity(self) -> str:
        """Model and prompt."""
        return f"{self._scorer.identity}; {prompt_identity(LAYOUT)}"

    @property
    def sequences_per_call(self) -> int:
        """One sequence fills many requests."""
        return 1

    @property
    def calls_at_once(self) -> int:
        """Sequences under way together: their requests share the model's slots in order of arrival."""
        return self._scorer.calls_at_once

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence."""
        return [await self._reading(explanation, tokens) for tokens in sequences]

    async def _reading(self, explanation: str, tokens: Sequence[bytes]) -> Simulated:
        answers = await asyncio.gather(*(self._answer(prompt) for prompt in prompts(explanation, tokens)))
        probabilities = np.array([answer_probabilities(answer.top_logprobs) for answer in answers])
        reading = expected_reading(probabilities, [answer.status for answer in answers])
        raw = next((answer.raw for answer in answers if answer.status != "ok"), "")
        return replace(reading, usage=reduce(add, (answer.usage for answer in answers)), raw=raw)

    async def _answer(self, messages: Sequence[Message]) -> NextToken:
        """Return the answer to one prompt, stored unless it may be better next time."""
        turns = [[message.role, message.content] for message in messages]
        key = fingerprint("next token", _ANSWERS, self._scorer.identity, turns)

        async def call() -> dict[str, object]:
            answer = await first_token(self._scorer, messages)
            return {**vars(answer), "usage": vars(answer.usage)}

        about = {"stage": "simulation", "model": self.identity}
        return await answered_once(
            key,
            self._calls,
            call,
            read=_restored,
            keep=lambda answer: answer["status"] != "failed",
            in_flight=self._in_flight,  # sequences that begin alike share their first questions
            about=about,
        )


def _restored(kept: Mapping[str, Any]) -> NextToken:
    return NextToken(kept["top_logprobs"], kept["status"], kept["raw"], Usage(**kept["usage"]))


def prompts(explanation: str, tokens: Sequence[bytes]) -> Iterator[list[Message]]:
    """Yield the prompt about each token of a sequence, in order; each shows the text up to its token."""
    data = wording(LAYOUT)
    worked = [
        (_question(each["explanation"], each["tokens"]), str(each["value"])) for each in data["example"]
    ]
    shown = [escaped(token) for token in tokens]
    for place in range(len(shown)):
        question = _question(unforged(explanation), shown[: place + 1])
        yield conversation(data["instruction"], worked, question)


def _question(explanation: str, shown: Sequence[str]) -> str:
    """Return the question about the last of some tokens."""
    last = unforged(shown[-1].strip() or shown[-1])
    text = unforged("".join(shown).lstrip())
    return f"Explanation: {explanation}\nText: {text}\nLast token: {last}\nActivation, 0 to 9:"

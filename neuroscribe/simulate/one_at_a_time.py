"""The simulator `one_at_a_time` of the paper: one request a token, digits among the likeliest first answers.

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
from typing import ClassVar, Literal

import numpy as np

from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Once, Request, answer_form, first_token, turns
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, NextToken, Simulated, as_text
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.ports.sources import Models
from neuroscribe.ports.stores import CallStore
from neuroscribe.simulate.distribution import answer_probabilities, expected_reading
from neuroscribe.simulate.prompts import conversation, prompt_identities, prompt_identity, wording
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.sections import Capability
from neuroscribe.text.escaping import escaped, unforged

LAYOUT = "one_at_a_time"
_ANSWERS = 1
"""Raise when the code that asks changes what the same prompt is answered with."""
_NEXT_TOKEN = answer_form(NextToken)


class OneAtATime(Simulating):
    """The paper's other simulator: each token is asked about by itself, at the end of the text before it."""

    needs: ClassVar[Capability | None] = "next_token"

    kind: Literal["one_at_a_time"] = "one_at_a_time"

    @property
    def wording(self) -> Mapping[str, str]:
        """The wording of its one layout."""
        return prompt_identities(LAYOUT)

    def simulator(self, models: Models) -> "OneAtATimeSimulator":
        """Return it around a model that tells first tokens."""
        if not isinstance(models.llm, NextTokenScorer):
            raise self.unable(models.llm)
        return OneAtATimeSimulator(models.llm, models.calls)

    def calls(self, tokens: int) -> int:
        """Return one a token."""
        return tokens

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        return [sample_of(next(prompts("rain", [b" rain"])), max_tokens=1)]

    def requests(self, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
        """Return a prompt for each token; one token answers it."""
        return [(as_text(messages), 1) for messages in prompts(explanation, tokens)]


class OneAtATimeSimulator:
    """Fulfils the `Simulator` port; every answer is kept in `calls` before its sequence is read."""

    keeps_calls = True
    """A reading's tokens and money are those of calls that are kept, and counted, by themselves."""
    sequences_per_call = 1

    def __init__(self, scorer: NextTokenScorer, calls: CallStore) -> None:
        self._scorer = scorer
        self.identity = f"{scorer.identity}; {prompt_identity(LAYOUT)}"
        self.calls_at_once = scorer.calls_at_once  # the requests of sequences share the model's slots
        # Sequences that begin alike share their first questions.
        self._once = Once(calls, {"stage": "simulation", "model": self.identity})

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
        key = fingerprint("next token", _ANSWERS, self._scorer.identity, turns(messages))
        return await self._once.answer(key, lambda: first_token(self._scorer, messages), _NEXT_TOKEN)


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

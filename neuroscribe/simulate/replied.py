"""Simulators that need no log-probabilities: one prompt a sequence, and values read from what is answered.

An answer that cannot be read is a reading without values and with a status, never a reading of zeros. (A list
of words that the text does not hold can be read: docs/decisions/0015-copied-words.md.) What was asked at
temperature 0 and answered unreadably would be answered so again: it is kept like any other.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from neuroscribe.llm.calls import Request
from neuroscribe.llm.faults import without_thoughts
from neuroscribe.ports.models import LLM, BatchingLLM
from neuroscribe.ports.replies import Message, Reply, Schema, Simulated, as_text
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.ports.sources import Models
from neuroscribe.simulate.distribution import without_values
from neuroscribe.simulate.prompts import prompt_identities, prompt_identity
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.sections import Capability


class Replied(Simulating):
    """The settings of a simulator that only needs answers: how it asks for values, and how it reads them."""

    needs: ClassVar[Capability | None] = "reply"

    @abstractmethod
    def messages(self, explanation: str, tokens: Sequence[bytes]) -> list[Message]:
        """Return the prompt about one sequence: what all share first, then the explanation, then the text."""

    @abstractmethod
    def longest_answer(self, tokens: Sequence[bytes]) -> int:
        """Return how many of the model's tokens an answer may take."""

    @abstractmethod
    def reading(self, reply: Reply, tokens: Sequence[bytes]) -> Simulated:
        """Return the values of every token or what is wrong with the answer, which is ok or truncated."""

    def answer_schema(self, tokens: Sequence[bytes]) -> Schema | None:
        """Return the JSON schema of the answer about a sequence; none where it is plain text."""
        return None

    def enough(self, answer: str, tokens: Sequence[bytes]) -> bool:
        """Tell whether an answer so far has said all it will: a model may go round in circles."""
        return False

    @property
    def wording(self) -> Mapping[str, str]:
        """The wording of its kind."""
        return prompt_identities(self.kind_name)

    def simulator(self, models: Models) -> "RepliedSimulator":
        """Return it around any LLM."""
        if models.llm is None:
            raise self.unable(None)
        return RepliedSimulator(models.llm, self)

    def calls(self, tokens: int) -> int:
        """Return one."""
        return 1

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own, about one token: an answer about all would be long."""
        longest = self.longest_answer([b" rain"] * tokens)
        messages, schema = self.messages("rain", [b" rain"]), self.answer_schema([b" rain"])
        return [sample_of(messages, max_tokens=longest, schema=schema)]

    def requests(self, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
        """Return the prompt about one sequence."""
        return [(as_text(self.messages(explanation, tokens)), self.longest_answer(tokens))]


_TOGETHER = 8
"""Sequences that are asked about together. Stored answers hold so many, and a simulation that may stop early
looks up after so many: with another number it would ask again, and read others."""


class RepliedSimulator:
    """Fulfils the `Simulator` port with an LLM that only answers."""

    keeps_calls = False

    def __init__(self, llm: LLM, spec: Replied) -> None:
        self._llm, self._spec = llm, spec
        self.identity = f"{llm.identity}; {prompt_identity(spec.kind_name)}"
        self.sequences_per_call = min(_TOGETHER, llm.replies_at_once) if isinstance(llm, BatchingLLM) else 1
        self.calls_at_once = llm.calls_at_once

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return what the model says about every token of every sequence."""
        options: dict[str, Any] = {
            "max_tokens": max((self._spec.longest_answer(tokens) for tokens in sequences), default=0),
            "temperature": 0.0,
            "seed": 0,
        }
        prompts = [self._spec.messages(explanation, tokens) for tokens in sequences]
        if isinstance(self._llm, BatchingLLM):
            enough = [partial(self._spec.enough, tokens=tokens) for tokens in sequences]
            replies = await self._llm.replies(prompts, enough=enough, **options)
        else:
            replies = await asyncio.gather(
                *(
                    self._llm.reply(prompt, schema=self._spec.answer_schema(tokens), **options)
                    for prompt, tokens in zip(prompts, sequences, strict=True)
                )
            )
        return [self._reading(reply, tokens) for reply, tokens in zip(replies, sequences, strict=True)]

    def _reading(self, reply: Reply, tokens: Sequence[bytes]) -> Simulated:
        if reply.status in ("ok", "truncated"):
            said = replace(reply, text=without_thoughts(reply.text or ""))
            reading = self._spec.reading(said, tokens)
        else:
            reading = without_values(len(tokens), reply.status)
        return replace(reading, usage=reply.usage, raw=reply.raw)

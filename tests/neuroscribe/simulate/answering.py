"""LLMs that answer from a script, for the simulators that read answers, and models of an LLM alone."""

from collections.abc import Callable, Sequence

from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.replies import Message, Reply, ReplyStatus, Schema, Usage
from neuroscribe.ports.sources import Models
from neuroscribe.ports.stores import Progress
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.testing.stores import MemoryCalls, SilentProgress

USAGE = Usage(prompt_tokens=7, completion_tokens=3, cost_usd=0.5)


class Answering:
    """An LLM that says what it is told, and keeps what it was asked."""

    identity = "script"
    calls_at_once = 3

    def __init__(self, say: Callable[[str], str | None], *, status: ReplyStatus = "ok") -> None:
        self.asked: list[list[Message]] = []
        self.options: list[tuple[int, float, Schema | None]] = []
        self._say, self._status = say, status

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        self.asked.append(list(messages))
        self.options.append((max_tokens, temperature, schema))
        question = next(message.content for message in reversed(messages) if message.role == "user")
        return Reply(self._say(question), self._status, "the whole response", USAGE)

    async def check(self, samples: object = ()) -> None:
        pass


class NoEncoders:
    """Opens no encoder."""

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> TextEncoder:
        raise AssertionError(f"{spec.model} was opened by a simulator that asks an LLM")


def models_with(llm: LLM) -> Models:
    """The LLM, a store that is empty, and no encoder."""
    return Models(llm, NoEncoders(), MemoryCalls(), SilentProgress())

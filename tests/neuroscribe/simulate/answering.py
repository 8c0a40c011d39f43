"""LLMs that answer from a script, for the simulators that read answers."""

from collections.abc import Callable, Sequence

from neuroscribe.ports.replies import Message, Reply, ReplyStatus, Schema, Usage

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

    async def check(self) -> None:
        pass

"""What LLMs and simulators are asked and answer, as values that cross the ports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ReplyStatus = Literal["ok", "refused", "failed", "truncated"]
ReadingStatus = Literal["ok", "refused", "unparsable", "failed", "truncated"]
Role = Literal["system", "user", "assistant"]
Schema = Mapping[str, object]
"""A JSON schema that an answer must follow."""


@dataclass(frozen=True)
class Message:
    """One turn of a prompt."""

    role: Role
    content: str


_BLANK_LINE = "\n\n"


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Return a prompt for models that know no system: the instruction is the head of the first question.

    Turns of one role that follow each other become one, for such models want turns that alternate.
    """
    instruction = _BLANK_LINE.join(message.content for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    if instruction:
        first = next((place for place, turn in enumerate(turns) if turn.role == "user"), 0)
        turns.insert(first, Message("user", instruction))
    joined: list[Message] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            turn = Message(turn.role, _BLANK_LINE.join((joined.pop().content, turn.content)))
        joined.append(turn)
    return joined


@dataclass(frozen=True)
class Usage:
    """What calls took; a sum has no price or latency where a part has none."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's tokens, those that the server had in its cache."""
    completion_tokens: int = 0
    cost_usd: float | None = None
    """Money spent, None when the price is unknown."""
    latency_s: float | None = None
    """Seconds from question to answer, retries included; None where nobody took the time. For the ledger
    alone: tables, which two runs must write alike, leave it out."""

    def __add__(self, other: "Usage") -> "Usage":
        """Return what both took together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            _sum(self.cost_usd, other.cost_usd),
            _sum(self.latency_s, other.latency_s),
        )

    def columns(self) -> dict[str, int | float | None]:
        """Return the values of `USAGE` (neuroscribe/tables/columns.py)."""
        return {name: value for name, value in vars(self).items() if name != "latency_s"}


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True)
class Reply:
    """One answer of an LLM; a refusal or a failure is a value, never text."""

    text: str | None
    """The answer, as far as it came where `status` is `truncated`; None when refused or failed."""
    status: ReplyStatus
    raw: str
    """The whole response as received (JSON), or the error."""
    usage: Usage = Usage()


@dataclass(frozen=True)
class EchoedPrompt:
    """A prompt returned by a completion server with the log-probabilities of its own tokens.

    Without any, and the reason in `raw`, unless the status is ok.
    """

    offsets: tuple[int, ...]
    """Character offset in the prompt at which each token starts."""
    top_logprobs: tuple[Mapping[str, float], ...]
    """At each token, the likeliest tokens for that place and their log-probabilities (natural log)."""
    usage: Usage = Usage()
    status: ReadingStatus = "ok"
    raw: str = ""


@dataclass(frozen=True)
class NextToken:
    """The likeliest first tokens of an answer; none, with the reason in `raw`, unless the status is ok."""

    top_logprobs: Mapping[str, float]
    """Log-probabilities (natural log), as far down as the server gives them."""
    status: ReadingStatus
    raw: str
    usage: Usage = Usage()


@dataclass(frozen=True)
class Simulated:
    """A simulator's reading of one sequence under one explanation."""

    activations: tuple[float, ...]
    """Expected activation per token on the 0..10 scale; length T, NaN where there is no readable value."""
    valid_fraction: float | None
    """Mean probability mass on valid values; None for simulators without a distribution."""
    status: ReadingStatus = "ok"
    """`ok` if every token has a value, else why some or all have none."""
    usage: Usage = Usage()
    raw: str = ""
    """The answer as received, from simulators that read words; what came instead of values from others."""
    unmatched_words: int | None = None
    """Words that the answer copies and the text does not hold; None from simulators that copy none."""


def as_text(messages: Sequence[Message]) -> str:
    """Return the contents of `messages`, parted by blank lines.

    A final assistant message is a stub: the text ends with it, to be continued where it stops. Without a
    stub the text ends with a blank line, so that the answer opens a paragraph of its own.
    """
    text = _BLANK_LINE.join(message.content for message in messages)
    stubbed = bool(messages) and messages[-1].role == "assistant"
    return text if stubbed else text + _BLANK_LINE

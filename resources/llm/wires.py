"""What a wire is: the form in which one vendor is asked, and what its answers mean.

Transport, limits, retries, budget and store know wires by what stands here, and no vendor's fields. Servers
differ, so nothing that they send is trusted: a body of an unforeseen shape is a failed reply.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message, Reply, ReplyStatus, Schema, Usage
from resources.llm.ends import End
from resources.llm.prices import Prices

if TYPE_CHECKING:
    from resources.llm.faults import Endpoint

PromptStyle = Literal["chat", "completion"]
SchemaForm = Literal["json_schema", "json_object", "in the prompt"]
"""Ways to ask for JSON: held to its schema, held to be an object, or by the prompt alone."""
Verdict = Literal["withheld", "unpaid", "other"]
"""What an error is about: a prompt that a filter turned away, an account without credit, or anything else."""
KEPT = 10_000  # characters of a failure that are worth keeping
_MOST_TOKENS = 10**9  # no call has more; a larger count is a fault of the server


@dataclass(frozen=True)
class Question:
    """What is asked, whoever is asked."""

    messages: Sequence[Message]
    max_tokens: int
    temperature: float
    seed: int | None = None
    one_line: bool = False
    """Whether an answer that continues a text ends with its line."""
    schema: Schema | None = None
    form: SchemaForm = "in the prompt"
    """How an answer that follows the schema is asked for."""


@dataclass(frozen=True)
class Request:
    """What is sent, and how large it and its answer may be."""

    path: str
    """Below the server's address."""
    body: Mapping[str, Any]
    characters: int
    """Of the prompt."""
    max_tokens: int
    left_out: Mapping[str, Any] = field(default_factory=dict)
    """Fields that would be sent as well if the server took them: two questions may differ in these alone."""

    @property
    def custom_id(self) -> str:
        """Content hash of what is asked; two batch jobs that ask the same give it the same name."""
        return fingerprint("batch request", self.path, {**self.body, **self.left_out})


class Body:
    """The body of a success, read once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def answer(self) -> dict[str, Any]:
        """The object that was sent; empty where none was."""
        try:
            return mapping(json.loads(self.text))
        except (ValueError, RecursionError):
            return {}

    @property
    def is_truncated(self) -> bool:
        """Whether an object was begun and not ended; what follows a whole object is something else."""
        if self.answer or not self.text.lstrip().startswith("{"):
            return False
        try:
            json.loads(self.text)
        except json.JSONDecodeError as error:
            return error.msg != "Extra data"
        except (ValueError, RecursionError):  # a number of thousands of digits, or endless brackets
            return False
        return False


class Wire(Protocol):
    """How one model is asked by its vendor's API, without what its server is known not to take."""

    name: str
    """Of the form, which tells answers of a model apart: part of the model's identity in stores."""
    paths: tuple[str, ...]
    """Ends of addresses that belong to requests, and that people paste together with the server's address."""
    speaks: str
    """The API with the form of its address, for whoever has to correct that."""
    forms: tuple[SchemaForm, ...]
    """Ways to ask for JSON, the firmest first; the last is always the prompt alone."""
    form_words: tuple[str, ...]
    """By these, in lower case, a failure is known to be about the form of the answer."""
    refused: frozenset[str]
    """Parts of requests that the model's server does not take, and that it is asked without."""

    def __init__(self, model: str) -> None: ...

    def headers(self, endpoint: "Endpoint") -> dict[str, str]:
        """Return what goes with every request, the key included."""
        ...

    def request(self, question: Question) -> Request:
        """Return what is sent for a question; raises LLMError for one that cannot be asked so."""
        ...

    def optional(self, request: Request) -> list[str]:
        """Return the parts of a request without which the same can be asked."""
        ...

    def verdict(self, status: int, error: Mapping[str, Any]) -> Verdict:
        """Return what an error of an HTTP status is about."""
        ...

    def usage(self, body: Body, prices: Prices) -> Usage:
        """Return what a call took; its cost is None unless all of it is stated."""
        ...

    def reply(self, body: Body, usage: Usage) -> Reply:
        """Return the answer; whatever holds none, or ended nobody knows why, is a failed reply."""
        ...

    def broke_off(self, body: Body) -> bool:
        """Tell whether the answer is said to have ended by a fault, which may not come again."""
        ...


def failed(raw: str, *, status: ReplyStatus = "failed", usage: Usage | None = None) -> Reply:
    """Return a reply without text that keeps what came instead of it."""
    return Reply(text=None, status=status, raw=raw[:KEPT], usage=usage or Usage())


def counted(prompt: object, completion: object, cached: object, prices: Prices) -> Usage:
    """Return what a call took; counts that are missing or no counts are 0, and the cost is then unknown."""
    usage = Usage(
        prompt_tokens=prompt if is_count(prompt) else 0,
        completion_tokens=completion if is_count(completion) else 0,
        cached_tokens=cached if is_count(cached) else 0,
    )
    cost = prices.cost(usage) if is_count(prompt) and is_count(completion) else None
    return replace(usage, cost_usd=cost)


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value can be a number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


STATUS: Mapping[End, ReplyStatus] = {
    "whole": "ok",
    "cut": "truncated",
    "withheld": "refused",
    "broken": "failed",
    "unknown": "failed",
}
"""Of a reply, by how it ended."""


def written(content: object) -> str | None:
    """Return the text in the content of a message, None where there is none.

    It is a text, or a list of parts, of which those of other types (thoughts, images) are passed over.
    Servers that read the JSON themselves send the object.
    """
    if isinstance(content, dict) and not {"text", "type"} & set(content):
        return as_json(content)
    parts = content if isinstance(content, list) else [content]
    texts = [text for part in parts if (text := _part(part)) is not None]
    return "".join(texts) if texts else None


def _part(part: object) -> str | None:
    if isinstance(part, str):
        return part
    sent = mapping(part)
    text = sent.get("text")
    return text if isinstance(text, str) and sent.get("type", "text") in ("text", "output_text") else None


def as_json(value: object) -> str | None:
    """Return a value that came as JSON in that form; None for one that is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return None

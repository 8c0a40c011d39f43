"""Reads what OpenAI-compatible servers send in answer to a prompt.

Pure: text in, port records out. Servers differ, so nothing is trusted: a body of an unforeseen shape is a
failed reply.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, TypeGuard

from neuroscribe.llm.capabilities import Capabilities
from neuroscribe.llm.logprobs import readable_logprobs
from neuroscribe.ports.replies import (
    EchoedPrompt,
    NextToken,
    ReadingStatus,
    Reply,
    ReplyStatus,
    Schema,
    Usage,
)
from resources.llm.faults import RejectedError, UnansweredError
from resources.llm.prices import Prices

_KEPT = 10_000  # characters of a failure that are worth keeping
_MOST_TOKENS = 10**9  # no call has more; a larger count is a fault of the server


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

    @property
    def choice(self) -> dict[str, Any] | None:
        """The one choice that was sent; None where there is none, or where several leave open which holds."""
        choices = self.answer.get("choices")
        return mapping(choices[0]) or None if isinstance(choices, list) and len(choices) == 1 else None


def failed(raw: str, *, status: ReplyStatus = "failed", usage: Usage | None = None) -> Reply:
    """Return a reply without text that keeps what came instead of it."""
    return Reply(text=None, status=status, raw=raw[:_KEPT], usage=usage or Usage())


def read_reply(body: Body, usage: Usage) -> Reply:
    """Read a chat or text completion; whatever holds no answer is a failed reply."""
    choice = body.choice
    if choice is None:
        return failed(body.text, usage=usage)
    message = mapping(choice.get("message"))
    text = message.get("content", choice.get("text"))
    cut = choice.get("finish_reason") == "length"
    if text is None and cut:  # all tokens went into thoughts, and would again
        text = ""
    status: ReplyStatus = "ok" if isinstance(text, str) else "failed"
    if is_refused(choice):
        status = "refused"
    elif status == "ok" and cut:
        status = "truncated"
    return Reply(
        text=text if status in ("ok", "truncated") else None, status=status, raw=body.text, usage=usage
    )


def is_refused(choice: Mapping[str, Any]) -> bool:
    """Tell whether the model, or the server's filter, declined to answer."""
    return (
        bool(mapping(choice.get("message")).get("refusal")) or choice.get("finish_reason") == "content_filter"
    )


def read_usage(body: Body, *, prices: Prices) -> Usage:
    """Read what a call took; counts that are missing or no counts are 0, and the cost is then unknown."""
    sent = mapping(body.answer.get("usage"))
    prompt, completion = sent.get("prompt_tokens"), sent.get("completion_tokens")
    if completion is None and sent.get("total_tokens") == prompt:
        completion = 0  # some servers leave it out where nothing was written
    usage = Usage(
        prompt_tokens=prompt if _is_count(prompt) else 0,
        completion_tokens=completion if _is_count(completion) else 0,
        cached_tokens=_cached(sent),
    )
    cost = prices.cost(usage) if _is_count(prompt) and _is_count(completion) else None
    return replace(usage, cost_usd=cost)


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def _cached(sent: Mapping[str, Any]) -> int:
    count = mapping(sent.get("prompt_tokens_details")).get("cached_tokens")
    return count if _is_count(count) else 0


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


_KEPT_UNREADABLE = 10_000  # characters of an unreadable answer that are worth keeping
_MOST_MASS = 1.05  # what probabilities may add up to, with a server's rounding


class LogprobsMissingError(Exception):
    """The server sends no log-probabilities, or others than asked for; the text says what is missing."""


def read_echo(body: Body, prompt: str, usage: Usage) -> EchoedPrompt:
    """Read an echoed prompt in either wire shape.

    Raises LogprobsMissingError unless the tokens that came back spell the prompt.
    """
    choice = body.choice
    if choice is None:
        raise LogprobsMissingError(f"no completion came back ({body.text[:200]!r})")
    if not str(choice.get("text")).startswith(prompt):
        raise LogprobsMissingError("the prompt was not echoed (`echo` was ignored)")
    try:
        tokens, tops = _places(choice.get("logprobs"))
    except (KeyError, TypeError, ValueError) as error:
        raise LogprobsMissingError("no log-probabilities came back for the prompt") from error
    offsets = aligned(prompt, tokens)
    if not any(tops[: len(offsets)]):
        raise LogprobsMissingError("the prompt's tokens have no `top_logprobs`")
    return EchoedPrompt(tuple(offsets), tuple(tops[: len(offsets)]), usage)


def read_next_token(body: Body, usage: Usage) -> NextToken:
    """Read the likeliest first tokens of an answer, in either wire shape.

    Without a choice the call has failed; log-probabilities that are missing or cannot be such are
    `unparsable`.
    """
    choice = body.choice
    if choice is None:
        return _unread(body, "failed", usage)
    if is_refused(choice):
        return _unread(body, "refused", usage)
    try:
        _, tops = _places(choice.get("logprobs"))
        likeliest = tops[0]
    except (KeyError, TypeError, ValueError, IndexError):
        return _unread(body, "unparsable", usage)
    if not likeliest or not _can_be(likeliest):
        return _unread(body, "unparsable", usage)
    return NextToken(likeliest, "ok", "", usage)


def _can_be(logprobs: Mapping[str, float]) -> bool:
    """Tell whether these can be log-probabilities of tokens that exclude each other."""
    finite = all(math.isfinite(value) for value in logprobs.values())
    return finite and sum(map(math.exp, logprobs.values())) <= _MOST_MASS


def _unread(body: Body, status: ReadingStatus, usage: Usage) -> NextToken:
    return NextToken({}, status, body.text[:_KEPT_UNREADABLE], usage)


def aligned(prompt: str, tokens: Sequence[str]) -> list[int]:
    """Return the character offset at which each of the prompt's tokens starts; later tokens are left out.

    Offsets that servers send count decoded tokens, so they drift after the first character that spans
    several tokens; here the prompt itself is followed. A token that is no text of its own (a special token,
    part of a character) gets the place where it was met, and the next readable one shows where the text
    goes on. Raises LogprobsMissingError when the tokens do not spell the prompt.
    """
    offsets: list[int] = []
    place = unread = read = 0
    for token in tokens:
        if place == len(prompt):
            break
        start = prompt.find(token, place, place + unread + len(token))
        if start < 0:
            unread += len(token)
            start = place
        elif token:
            place, unread, read = start + len(token), 0, read + 1
        offsets.append(start)
    if place + unread < len(prompt) or 2 * read < len(offsets):
        raise LogprobsMissingError("the tokens that came back with log-probabilities do not spell the prompt")
    return offsets


def _places(sent: object) -> tuple[list[str], list[dict[str, float]]]:
    """Return tokens and likeliest tokens per place from the legacy or the chat-shaped form.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    logprobs = mapping(sent)
    if entries := logprobs.get("content"):
        return [str(entry["token"]) for entry in entries], [_likeliest(entry) for entry in entries]
    tokens = [str(token) for token in logprobs["tokens"]]
    tops = [mapping(top) for top, _ in zip(logprobs["top_logprobs"], tokens, strict=True)]
    return tokens, [readable_logprobs(top) for top in tops]


def _likeliest(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return one place's likeliest tokens from the chat-shaped form; of two alike the likelier counts."""
    tops = entry.get("top_logprobs") or ()
    return readable_logprobs({top["token"]: top["logprob"] for top in reversed(tops)})


TOP_LOGPROBS = (20, 10, 5)
"""Tried in turn: most servers give 20, OpenAI's own completions 5."""
SchemaForm = Literal["json_schema", "json_object", "in the prompt"]
_FORMS: tuple[SchemaForm, ...] = ("json_schema", "json_object", "in the prompt")
_FORM_REJECTED = (400, 415, 422, 501)
_ABOUT_FORMS = ("response_format", "json", "schema", "grammar")


def schema_forms(known: Capabilities) -> Iterator[SchemaForm]:
    """Yield the ways to ask for an answer that follows a schema, the firmest first."""
    for form in _FORMS:
        if getattr(known, form, None) is not False:
            yield form


def response_format(form: SchemaForm, schema: Schema) -> dict[str, Any]:
    """Return the field that asks for such an answer; none where the prompt alone says it."""
    match form:
        case "json_schema":
            named = {"name": "answer", "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case _:
            return {}


def is_about_forms(refusal: RejectedError | UnansweredError) -> bool:
    """Tell whether another form might be taken where this one was not."""
    if isinstance(refusal, RejectedError):
        return refusal.status in _FORM_REJECTED
    return any(word in str(refusal).lower() for word in _ABOUT_FORMS)


def counts(known: int | None) -> list[int]:
    """Return the numbers of log-probabilities to ask for in turn, from the one that is known to work."""
    return [count for count in TOP_LOGPROBS if not known or count <= known]

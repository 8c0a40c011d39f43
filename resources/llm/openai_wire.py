"""OpenAI's wire, which most servers speak: chat turns, continued texts, and prompts that are echoed.

Questions become bodies and bodies become port records. Servers differ, so nothing that they send is trusted.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from neuroscribe.llm.logprobs import readable_logprobs
from neuroscribe.ports.replies import (
    EchoedPrompt,
    Message,
    NextToken,
    ReadingStatus,
    Reply,
    ReplyStatus,
    Schema,
    Usage,
    as_text,
    without_system,
)
from resources.llm.ends import End, end
from resources.llm.faults import Endpoint, RejectedError, UnansweredError
from resources.llm.prices import Prices
from resources.llm.refusals import SYSTEM
from resources.llm.wires import (
    KEPT,
    STATUS,
    Body,
    PromptStyle,
    Question,
    Request,
    SchemaForm,
    Verdict,
    Wire,
    counted,
    failed,
    mapping,
    written,
)

_NO_KEY = "no-key"  # some servers insist on a key, whatever it is
_LIMIT, _NEWER_LIMIT = "max_tokens", "max_completion_tokens"
_OPTIONAL = ("temperature", "seed", "stop", _LIMIT)
_SAYS = ("assistant", "model", "ai", "bot")
"""What servers call the model that answers."""
_CONTENT_FILTERS = ("content_filter", "content_policy_violation", "invalid_prompt")


class OpenAIWire(ABC):
    """What chat turns and continued texts have in common."""

    name: str
    paths: tuple[str, ...] = ("/chat/completions", "/completions")
    speaks: str = "an OpenAI-compatible API, whose address mostly ends in /v1 (http://127.0.0.1:8000/v1)"
    forms: tuple[SchemaForm, ...] = ("json_schema", "json_object", "in the prompt")
    form_words: tuple[str, ...] = ("response_format", "json", "schema", "grammar")
    stops: str = ""
    """Where an answer of one line ends."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.refused: frozenset[str] = frozenset()

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """Return the key and the kind of what is sent."""
        key = {"authorization": f"Bearer {endpoint.key or _NO_KEY}"}
        return {"content-type": "application/json", "accept": "application/json", **key}

    def request(self, question: Question) -> Request:
        """Return what is sent for a question."""
        path, body, characters = self._prompt(question.messages)
        body |= {"temperature": question.temperature}
        if question.seed is not None:
            body["seed"] = question.seed
        if question.one_line and self.stops:
            body["stop"] = self.stops
        if question.schema is not None:
            body |= _response_format(question.form, question.schema)
        return self._limited(path, body, characters, question.max_tokens)

    def first_token(self, messages: Sequence[Message], count: int) -> Request:
        """Return what is sent for so many of the likeliest first tokens of an answer."""
        path, body, characters = self._prompt(messages)
        return self._limited(path, {**body, "temperature": 0, **self._logprobs(count)}, characters, 1)

    def echo(self, prompt: str, count: int) -> Request:
        """Return what is sent for a prompt to come back with so many log-probabilities at each token."""
        body = {"prompt": prompt, "echo": True, "temperature": 0, "logprobs": count}
        return self._limited("/completions", body, len(prompt), 1)

    def optional(self, request: Request) -> list[str]:
        """Return the parts of a request without which the same can be asked.

        The limit on an answer's length is among them by its older name, which reasoning models do not know.
        By its newer one, which older servers do not know, it stays: without any a run may cost any amount.
        """
        turns = request.body.get("messages", ())
        fields = [name for name in _OPTIONAL if name in request.body]
        return [*fields, *([SYSTEM] if any(turn["role"] == "system" for turn in turns) else [])]

    def verdict(self, status: int, error: Mapping[str, Any]) -> Verdict:
        """Return what an error is about."""
        code = error.get("code")
        if code in _CONTENT_FILTERS or (status == 403 and _is_flagged(error)):
            return "withheld"
        return "unpaid" if code == "insufficient_quota" else "other"

    def usage(self, body: Body, prices: Prices) -> Usage:
        """Return what a call took."""
        sent = mapping(body.answer.get("usage"))
        prompt, completion = sent.get("prompt_tokens"), sent.get("completion_tokens")
        if completion is None and sent.get("total_tokens") == prompt:
            completion = 0  # some servers leave it out where nothing was written
        cached = mapping(sent.get("prompt_tokens_details")).get("cached_tokens")
        return counted(prompt, completion, cached, prices)

    def reply(self, body: Body, usage: Usage) -> Reply:
        """Return the answer of a chat or text completion; whatever holds none is a failed reply."""
        choice = _choice(body)
        if choice is None:
            return failed(body.text, usage=usage)
        status: ReplyStatus = "refused" if _is_refused(choice) else STATUS[_end(choice)]
        text = _text(choice)
        if text is None and status == "truncated":  # all tokens went into thoughts, and would again
            text = ""
        if status not in ("ok", "truncated"):
            text = None
        elif text is None:
            status = "failed"
        return Reply(text=text, status=status, raw=body.text, usage=usage)

    def broke_off(self, body: Body) -> bool:
        """Tell whether the answer is said to have ended by a fault, which may not come again."""
        choice = _choice(body)
        return choice is not None and _end(choice) == "broken"

    @abstractmethod
    def _asked(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any], int]:
        """Return the path and the fields that ask, and the characters of the prompt."""

    @abstractmethod
    def _logprobs(self, count: int) -> dict[str, Any]:
        """Return the fields that ask for log-probabilities of an answer."""

    def _prompt(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any], int]:
        return self._asked(without_system(messages) if SYSTEM in self.refused else messages)

    def _limited(self, path: str, body: Mapping[str, Any], characters: int, max_tokens: int) -> Request:
        limit = _NEWER_LIMIT if _LIMIT in self.refused else _LIMIT
        left_out = {name: value for name, value in body.items() if name in self.refused}
        taken = {name: value for name, value in body.items() if name not in left_out}
        sent = {"model": self._model, **taken, limit: max_tokens}
        return Request(path, sent, characters, max_tokens, left_out)


class ChatWire(OpenAIWire):
    """Chat turns; a final assistant message is left off, for chat servers cannot continue it."""

    name = "chat"

    def _asked(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any], int]:
        stubbed = bool(messages) and messages[-1].role == "assistant"
        turns = [{"role": m.role, "content": m.content} for m in (messages[:-1] if stubbed else messages)]
        return "/chat/completions", {"messages": turns}, sum(len(turn["content"]) for turn in turns)

    def _logprobs(self, count: int) -> dict[str, Any]:
        return {"logprobs": True, "top_logprobs": count}


class CompletionWire(OpenAIWire):
    """One text that the model continues, mostly to the end of the line."""

    name = "completion"
    stops = "\n"

    def _asked(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any], int]:
        prompt = as_text(messages)
        return "/completions", {"prompt": prompt}, len(prompt)

    def _logprobs(self, count: int) -> dict[str, Any]:
        return {"logprobs": count}

    def reply(self, body: Body, usage: Usage) -> Reply:
        """Return the answer, up to the end of its line where the server does not end it there."""
        reply = super().reply(body, usage)
        line, ended, _ = (reply.text or "").partition(self.stops)
        return replace(reply, text=line, status="ok") if ended and "stop" in self.refused else reply


WIRES: Mapping[PromptStyle, type[Wire]] = {"chat": ChatWire, "completion": CompletionWire}


def _response_format(form: SchemaForm, schema: Schema) -> dict[str, Any]:
    """Return the field that asks for JSON; none where the prompt alone says it."""
    match form:
        case "json_schema":
            named = {"name": "answer", "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case _:
            return {}


def _is_flagged(error: Mapping[str, Any]) -> bool:
    """Tell whether a server turned away the prompt and not the key: OpenRouter then sends why it was flagged.

    Source: its API's reference, "Errors and debugging", on moderation.
    """
    return bool({"reasons", "flagged_input"} & set(mapping(error.get("metadata"))))


def _is_refused(choice: Mapping[str, Any]) -> bool:
    """Tell whether the model, or the server's filter, declined to answer."""
    refusal = mapping(choice.get("message")).get("refusal")
    return bool(refusal) or _end(choice) == "withheld"


def _end(choice: Mapping[str, Any]) -> End:
    """Return how a choice ended."""
    return end(choice.get("finish_reason"))


def _text(choice: Mapping[str, Any]) -> str | None:
    """Return what the model says in a choice; None where nobody, or somebody else, says something."""
    message = mapping(choice.get("message"))
    says = str(message.get("role") or "assistant").lower() in _SAYS
    return written(message.get("content", choice.get("text"))) if says else None


def _choice(body: Body) -> dict[str, Any] | None:
    """Return the one choice that was sent; None where there is none, or several leave open which holds."""
    choices = body.answer.get("choices")
    return mapping(choices[0]) or None if isinstance(choices, list) and len(choices) == 1 else None


_MOST_MASS = 1.05  # what probabilities may add up to, with a server's rounding


class LogprobsMissingError(Exception):
    """The server sends no log-probabilities, or others than asked for; the text says what is missing."""


def read_echo(body: Body, prompt: str, usage: Usage) -> EchoedPrompt:
    """Read an echoed prompt in either wire shape.

    Raises LogprobsMissingError unless the tokens that came back spell the prompt.
    """
    choice = _choice(body)
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
    if faulty := _fault(choice):
        return EchoedPrompt((), (), usage, faulty, body.text[:KEPT])
    return EchoedPrompt(tuple(offsets), tuple(tops[: len(offsets)]), usage)


def read_next_token(body: Body, usage: Usage) -> NextToken:
    """Read the likeliest first tokens of an answer, in either wire shape.

    Without a choice the call has failed; log-probabilities that are missing or cannot be such are
    `unparsable`.
    """
    choice = _choice(body)
    faulty = "failed" if choice is None else _fault(choice)
    if choice is None or faulty:
        return _unread(body, faulty or "failed", usage)
    try:
        _, tops = _places(choice.get("logprobs"))
        likeliest = tops[0]
    except (KeyError, TypeError, ValueError, IndexError):
        return _unread(body, "unparsable", usage)
    if not likeliest or not _can_be(likeliest):
        return _unread(body, "unparsable", usage)
    return NextToken(likeliest, "ok", "", usage)


def _fault(choice: Mapping[str, Any]) -> ReadingStatus | None:
    """Return what is wrong with a choice of which only log-probabilities are read; None where nothing is.

    They are whole in themselves: to be cut off does not harm them, and what is said of no end neither.
    """
    if _is_refused(choice):
        return "refused"
    said = choice.get("finish_reason") is not None
    return "failed" if said and STATUS[_end(choice)] == "failed" else None


def _can_be(logprobs: Mapping[str, float]) -> bool:
    """Tell whether these can be log-probabilities of tokens that exclude each other."""
    finite = all(math.isfinite(value) for value in logprobs.values())
    return finite and sum(map(math.exp, logprobs.values())) <= _MOST_MASS


def _unread(body: Body, status: ReadingStatus, usage: Usage) -> NextToken:
    return NextToken({}, status, body.text[:KEPT], usage)


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


def counts(known: int | None) -> list[int]:
    """Return the numbers of log-probabilities to ask for in turn, from the one that is known to work."""
    return [count for count in TOP_LOGPROBS if not known or count <= known]


def without_logprobs(refusal: RejectedError | UnansweredError) -> str:
    """Return why a server will not give log-probabilities; any other refusal is raised again.

    An answer that was cut off mentions them too: that is no refusal.
    """
    if isinstance(refusal, UnansweredError) and refusal.billed:
        raise refusal
    said = refusal.said if isinstance(refusal, RejectedError) else str(refusal)
    unknown = isinstance(refusal, RejectedError) and refusal.status in (404, 405, 501)
    if unknown or any(word in said.lower() for word in ("echo", "logprob", "logits_all")):
        return said
    raise refusal

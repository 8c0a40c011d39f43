"""Puts questions to a server in the forms that it takes, and remembers which those are."""

import copy
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from neuroscribe.ports.replies import Message, Schema, Usage, as_text
from resources.llm.faults import RejectedError, UnansweredError, without_logprobs
from resources.llm.found import Found
from resources.llm.openai_wire import (
    Body,
    LogprobsMissingError,
    SchemaForm,
    counts,
    is_about_forms,
    mapping,
    read_reply,
    response_format,
    schema_forms,
)
from resources.llm.transport import Request, Transport

PromptStyle = Literal["chat", "completion"]
Answered = tuple[Body, Usage]


class Asking:
    """One model as chat turns or as one text that it continues."""

    def __init__(self, transport: Transport, found: Found, prompt_style: PromptStyle) -> None:
        self.transport, self.found = transport, found
        self.prompt_style: PromptStyle = prompt_style

    def hasty(self) -> "Asking":
        """Return the same with few retries, for calls that are to find a mistake before the run."""
        other = copy.copy(self)
        other.transport = self.transport.hasty()
        return other

    def in_style(self, prompt_style: PromptStyle) -> "Asking":
        """Return the same model asked in the other way."""
        other = copy.copy(self)
        other.prompt_style = prompt_style
        return other

    def question(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        """Return the path and the body that ask for a continuation or an answer."""
        if self.prompt_style == "completion":
            return "/completions", {"prompt": as_text(messages)}
        stubbed = bool(messages) and messages[-1].role == "assistant"
        turns = messages[:-1] if stubbed else messages
        return "/chat/completions", {"messages": [{"role": m.role, "content": m.content} for m in turns]}

    async def answered(self, path: str, body: dict[str, Any], max_tokens: int) -> Answered:
        """Post with a limit on length, under the name by which the server knows it."""
        limit = self.found.length_limit
        request = Request(path, {**body, limit: max_tokens}, _characters(body), max_tokens)
        try:
            return await self.transport.answered(request)
        except RejectedError as rejected:
            # Reasoning models know the limit by its newer name only, older servers by the older one only.
            if limit != "max_tokens" or "max_completion_tokens" not in rejected.said:
                raise
        self.found.length_limit = "max_completion_tokens"
        return await self.answered(path, body, max_tokens)

    async def structured(self, path: str, body: dict[str, Any], max_tokens: int, schema: Schema) -> Answered:
        """Post with the firmest request for JSON that the server takes, and remember which that is."""
        refusal: RejectedError | UnansweredError | None = None
        refused: dict[str, bool] = {}
        for form in schema_forms(self.found.now):
            try:
                answer = await self.in_form(form, path, body, max_tokens, schema)
            except (RejectedError, UnansweredError) as error:
                if not is_about_forms(error):
                    raise
                refusal = refusal or error
                refused[form] = False
            else:
                self.found.record(**refused)
                return answer
        assert refusal is not None, "the prompt alone is always tried"
        raise refusal

    async def in_form(
        self, form: SchemaForm, path: str, body: dict[str, Any], max_tokens: int, schema: Schema
    ) -> Answered:
        """Post with one way to ask for JSON."""
        return await self.answered(path, {**body, **response_format(form, schema)}, max_tokens)

    async def with_logprobs(
        self, ask: Callable[[int], Awaitable[Answered]], capability: Literal["echoed", "answer"]
    ) -> tuple[Body, Usage, int]:
        """Ask for as many log-probabilities as the server allows; returns how many were asked for, too.

        Raises LogprobsMissingError for a server that has none.
        """
        said = ""
        for count in counts(getattr(self.found.now, f"{capability}_logprobs")):
            try:
                answer, usage = await ask(count)
            except (RejectedError, UnansweredError) as refusal:
                said = without_logprobs(refusal)
            else:
                return answer, usage, count
        raise LogprobsMissingError(said)


def _characters(body: dict[str, Any]) -> int:
    if "prompt" in body:
        return len(body["prompt"])
    return sum(len(message["content"]) for message in body["messages"])


_KEY, _VALUE = "a_word_no_model_says", "zwieback"
_SCHEMA = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [_VALUE]}},
    "required": [_KEY],
    "additionalProperties": False,
}
"""What nothing but the schema itself leads to."""
_TOKENS = 40
_SAMPLING = {"temperature": 0.0, "seed": 0}


async def try_styles(asking: Asking) -> None:
    """Find out whether the server answers chat turns and continues texts, where that is not known."""
    known = asking.found.now
    if known.chat is None:
        with suppress(UnansweredError):
            asking.found.record(chat=await _answers(asking.in_style("chat")))
    if known.completion is None:
        with suppress(UnansweredError):
            asking.found.record(completion=await _answers(asking.in_style("completion")))


async def try_json(asking: Asking) -> None:
    """Find out whether answers are held to a schema, and to JSON, where that is not known."""
    known = asking.found.now
    if known.json_schema is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_schema", "Answer in JSON.")
            asking.found.record(json_schema=sent == {_KEY: _VALUE})
    if known.json_object is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_object", "Write a JSON object with the key colour.")
            asking.found.record(json_object=bool(mapping(sent)))


async def _answers(asking: Asking) -> bool:
    """Tell whether a question is answered; raises UnansweredError where the server may yet do so."""
    path, body = asking.question([Message("user", "Say yes.")])
    try:
        answer, usage = await asking.answered(path, {**body, **_SAMPLING}, 16)
    except RejectedError:
        return False
    return read_reply(answer, usage).status != "failed"


async def _json(asking: Asking, form: SchemaForm, question: str) -> Any:
    """Return the JSON that a form brings, or None.

    Raises UnansweredError where nothing came that has to do with the form.
    """
    path, body = asking.question([Message("user", question)])
    try:
        answer, usage = await asking.in_form(form, path, {**body, **_SAMPLING}, _TOKENS, _SCHEMA)
        return json.loads(read_reply(answer, usage).text or "")
    except (RejectedError, ValueError):
        return None
    except UnansweredError as unanswered:
        if not is_about_forms(unanswered):
            raise
        return None

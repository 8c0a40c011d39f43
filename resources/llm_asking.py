"""Puts questions to a server in the forms that it takes, and remembers which those are."""

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from neuroscribe.explain.messages import as_text
from neuroscribe.replies import Message, Schema, Usage
from resources.llm_capabilities import Found
from resources.llm_faults import RejectedError, UnansweredError, without_logprobs
from resources.llm_forms import SchemaForm, counts, is_about_forms, response_format, schema_forms
from resources.llm_logprobs import LogprobsMissingError
from resources.llm_transport import Request, Transport
from resources.llm_wire import Body

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

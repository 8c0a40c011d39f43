"""The wire of Anthropic's messages API: replies, JSON through a tool, and no log-probabilities.

Models differ in what they take: newer ones know no temperature and continue no answer, some cannot be asked
without thinking first. All are asked for everything, and what one rejects it is asked without from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Message, Reply, ReplyStatus, Usage, without_system
from resources.llm.ends import end
from resources.llm.prices import Prices
from resources.llm.refusals import PREFILL, SYSTEM
from resources.llm.wires import (
    STATUS,
    Body,
    PromptStyle,
    Question,
    Request,
    SchemaForm,
    Verdict,
    Wire,
    as_json,
    counted,
    failed,
    is_count,
    mapping,
)

if TYPE_CHECKING:
    from resources.llm.faults import Endpoint

_VERSION = "2023-06-01"
_TOOL = "answer"
_OPTIONAL = ("temperature", "thinking")
"""What only some models take, beside a begun answer."""
_BY_TOOL = "tool_use"
"""How a message ends, and what the block is, where the model calls the tool."""
_WITHHELD = "content filtering policy"
_UNPAID = ("credit balance is too low", "API usage limits")


class MessagesWire:
    """Fulfils `Wire`; a final assistant message is continued where the model can do that."""

    name: str = "messages"
    paths: tuple[str, ...] = ("/v1/messages",)
    speaks: str = "Anthropic's messages API, whose address ends before /v1 (https://api.anthropic.com)"
    forms: tuple[SchemaForm, ...] = ("json_schema", "in the prompt")
    form_words: tuple[str, ...] = ("input_schema", "tool_choice")

    def __init__(self, model: str) -> None:
        self._model = model
        self.refused: frozenset[str] = frozenset()

    def headers(self, endpoint: "Endpoint") -> dict[str, str]:
        """Return the version of the API and the key."""
        headers = {"content-type": "application/json", "anthropic-version": _VERSION}
        return {**headers, "x-api-key": endpoint.key} if endpoint.key else headers

    def request(self, question: Question) -> Request:
        """Return what is sent for a question, of which there is no seed; the temperature ends at 1."""
        if question.temperature > 1:
            raise LLMError(
                f"temperature = {question.temperature} is more than the 1 that {self._model} takes; lower it"
                " in the study's explainers"
            )
        tool = _tool(question)
        messages = without_system(question.messages) if SYSTEM in self.refused else question.messages
        turns = self._turns(messages, continued=not tool)
        system = "\n\n".join(turn.content for turn in messages if turn.role == "system")
        optional = {"temperature": question.temperature, "thinking": {"type": "disabled"}}
        body = {
            "model": self._model,
            "max_tokens": question.max_tokens,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            **({"system": system} if system else {}),
            **{name: value for name, value in optional.items() if name not in self.refused},
            **tool,
        }
        characters = len(system) + sum(len(turn.content) for turn in turns)
        return Request("/v1/messages", body, characters, question.max_tokens)

    def optional(self, request: Request) -> list[str]:
        """Return the parts of a request without which the same can be asked."""
        body = request.body
        begun = body["messages"] and body["messages"][-1]["role"] == "assistant"
        fields = [name for name in _OPTIONAL if name in body]
        return [*fields, *([PREFILL] if begun else []), *([SYSTEM] if "system" in body else [])]

    def verdict(self, status: int, error: Mapping[str, Any]) -> Verdict:
        """Return what an error is about; money may have run out under any of three statuses."""
        del status
        said = str(error.get("message"))
        if _WITHHELD in said:
            return "withheld"
        capped = mapping(error.get("details")).get("error_code") == "enforced_spend_limit_reached"
        return "unpaid" if capped or any(words in said for words in _UNPAID) else "other"

    def usage(self, body: Body, prices: Prices) -> Usage:
        """Return what a call took; prompt tokens are counted apart by what the cache did with them."""
        sent = mapping(body.answer.get("usage"))
        cached, written = (sent.get(f"cache_{way}_input_tokens") or 0 for way in ("read", "creation"))
        parts = [sent.get("input_tokens"), cached, written]
        prompt = sum(filter(is_count, parts)) if all(map(is_count, parts)) else None
        usage = counted(prompt, sent.get("output_tokens"), cached, prices)
        # What is written to the cache costs more than the prices say.
        return replace(usage, cost_usd=None) if written else usage

    def reply(self, body: Body, usage: Usage) -> Reply:
        """Return the answer: the JSON that the tool was called with, else the text."""
        blocks, stopped = body.answer.get("content"), body.answer.get("stop_reason")
        if not isinstance(blocks, list) or not isinstance(stopped, str):
            return failed(body.text, usage=usage)
        parts = [mapping(block) for block in blocks]
        called = stopped == _BY_TOOL and any(part.get("type") == _BY_TOOL for part in parts)
        status: ReplyStatus = "ok" if called else STATUS[end(stopped)]
        if status not in ("ok", "truncated"):
            return failed(body.text, status=status, usage=usage)
        return Reply(_said(parts), status, body.text, usage)

    def broke_off(self, body: Body) -> bool:
        """Tell whether the answer is said to have ended by a fault, which may not come again."""
        return end(body.answer.get("stop_reason")) == "broken"

    def _turns(self, messages: Sequence[Message], *, continued: bool) -> list[Message]:
        """Return the turns; the beginning of an answer may not end in white space."""
        turns = [message for message in messages if message.role != "system"]
        if turns and turns[-1].role == "assistant":
            stub = turns.pop().content.rstrip()
            if stub and continued and PREFILL not in self.refused:
                turns.append(Message("assistant", stub))
        return turns


WIRES: Mapping[PromptStyle, type[Wire]] = {"chat": MessagesWire}


def _tool(question: Question) -> dict[str, Any]:
    """Return the fields that make the model call a tool with the answer; none where none is to be called."""
    if question.schema is None or question.form != "json_schema":
        return {}
    tool = {"name": _TOOL, "description": "Gives the answer.", "input_schema": question.schema}
    return {"tools": [tool], "tool_choice": {"type": "tool", "name": _TOOL}}


def _said(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer in the blocks of a message; thoughts are none."""
    for block in blocks:
        if block.get("type") == _BY_TOOL:
            return as_json(block.get("input")) or ""
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))

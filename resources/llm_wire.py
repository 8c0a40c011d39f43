"""Reads what OpenAI-compatible servers send in answer to a prompt.

Pure: text in, port records out. Servers differ, so nothing is trusted: a body of an unforeseen shape is a
failed reply.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeGuard

from neuroscribe.replies import Reply, ReplyStatus, Usage
from resources.llm_prices import Prices

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

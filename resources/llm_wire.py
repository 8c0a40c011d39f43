"""Reads what OpenAI-compatible servers send: replies, and prompts echoed with log-probabilities.

Pure: text in, port records out. Servers differ, so nothing is trusted: a body of an unforeseen shape is a
failed reply, and an echo counts only if its tokens spell the prompt.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from neuroscribe.ports import EchoedPrompt, Reply, ReplyStatus, Usage
from neuroscribe.simulate.distribution import readable_logprobs

_KEPT = 10_000  # characters of a failure that are worth keeping
_MOST_TOKENS = 10**9  # no call has more; a larger count is a fault of the server
_COUNTS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Prices:
    """What a server charges, in US dollars per million tokens; None where unknown."""

    prompt: float | None = None
    completion: float | None = None

    def cost(self, usage: Mapping[str, Any]) -> float | None:
        """Return the dollars a reply cost, or None when a price or the usage is unknown."""
        readable = bool(usage) and all(_is_count(usage.get(name, 0)) for name in _COUNTS)
        if self.prompt is None or self.completion is None or not readable:
            return None
        spent = self.prompt * _count(usage, "prompt_tokens")
        return (spent + self.completion * _count(usage, "completion_tokens")) / 1e6


class EchoMissingError(Exception):
    """The server's answer is not the prompt with log-probabilities; the text says what is missing."""


def failed(raw: str, *, status: ReplyStatus = "failed") -> Reply:
    """Return a reply without text that keeps what came instead of it."""
    return Reply(text=None, status=status, raw=raw[:_KEPT])


def read_reply(body: str, *, prices: Prices) -> Reply:
    """Read the body of a chat or text completion; whatever holds no answer is a failed reply."""
    answer = _object(body)
    choice = _first_choice(answer)
    if choice is None:
        return failed(body)
    message = _mapping(choice.get("message"))
    text = message.get("content", choice.get("text"))
    status: ReplyStatus = "ok" if isinstance(text, str) else "failed"
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        status = "refused"
    elif status == "ok" and choice.get("finish_reason") == "length":
        status = "truncated"
    return Reply(
        text=text if status in ("ok", "truncated") else None,
        status=status,
        raw=body,
        usage=read_usage(answer, prices=prices),
    )


def read_usage(answer: Mapping[str, Any], *, prices: Prices) -> Usage:
    """Read what a call took; counts that are no counts are 0."""
    usage = _mapping(answer.get("usage"))
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        cached_tokens=_count(_mapping(usage.get("prompt_tokens_details")), "cached_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cost_usd=prices.cost(usage),
    )


def read_echo(body: str, prompt: str, *, prices: Prices) -> EchoedPrompt:
    """Read an echoed prompt in either wire shape.

    Raises EchoMissingError unless the tokens that came back spell the prompt.
    """
    answer = _object(body)
    choice = _first_choice(answer)
    if choice is None:
        raise EchoMissingError(f"no completion came back ({body[:200]!r})")
    if not str(choice.get("text")).startswith(prompt):
        raise EchoMissingError("the prompt was not echoed (`echo` was ignored)")
    tokens, tops = _logprobs(choice.get("logprobs"))
    offsets = aligned(prompt, tokens)
    if not any(tops[: len(offsets)]):
        raise EchoMissingError("the prompt's tokens have no `top_logprobs`")
    return EchoedPrompt(
        offsets=tuple(offsets),
        top_logprobs=tuple(tops[: len(offsets)]),
        usage=read_usage(answer, prices=prices),
    )


def aligned(prompt: str, tokens: Sequence[str]) -> list[int]:
    """Return the character offset at which each of the prompt's tokens starts; later tokens are left out.

    Offsets that servers send count decoded tokens, so they drift after the first character that spans
    several tokens; here the prompt itself is followed. A token that is no text of its own (a special token,
    part of a character) gets the place where it was met, and the next readable one shows where the text
    goes on. Raises EchoMissingError when the tokens do not spell the prompt.
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
        raise EchoMissingError("the tokens that came back with log-probabilities do not spell the prompt")
    return offsets


def _logprobs(sent: object) -> tuple[list[str], list[dict[str, float]]]:
    """Return tokens and likeliest tokens per place from the legacy or the chat-shaped form."""
    logprobs = _mapping(sent)
    try:
        if entries := logprobs.get("content"):
            return [str(entry["token"]) for entry in entries], [_likeliest(entry) for entry in entries]
        tokens = [str(token) for token in logprobs["tokens"]]
        tops = [_mapping(top) for top, _ in zip(logprobs["top_logprobs"], tokens, strict=True)]
        return tokens, [readable_logprobs(top) for top in tops]
    except (KeyError, TypeError, ValueError) as error:
        raise EchoMissingError("no log-probabilities came back for the prompt") from error


def _likeliest(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return one place's likeliest tokens from the chat-shaped form; of two alike the likelier counts."""
    tops = entry.get("top_logprobs") or ()
    return readable_logprobs({top["token"]: top["logprob"] for top in reversed(tops)})


def _object(body: str) -> dict[str, Any]:
    try:
        return _mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first_choice(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = answer.get("choices")
    return _mapping(choices[0]) or None if isinstance(choices, list) and choices else None


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if _is_count(value) else 0


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS

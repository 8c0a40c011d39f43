"""Reads log-probabilities off the wire: of a prompt that was echoed, and of an answer's first token.

Servers send them in two shapes and in all states of disrepair, so nothing is trusted: an echo counts only if
its tokens spell the prompt, and log-probabilities only if they can be such.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neuroscribe.replies import EchoedPrompt, NextToken, ReadingStatus, Usage
from neuroscribe.simulate.distribution import readable_logprobs
from resources.llm_wire import Body, is_refused, mapping

_KEPT = 10_000  # characters of an unreadable answer that are worth keeping
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
    return NextToken({}, status, body.text[:_KEPT], usage)


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

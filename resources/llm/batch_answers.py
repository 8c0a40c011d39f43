"""The answers in a batch job's files, read line by line and within bounds.

A file may hold anything: what is no answer to a question of the job is passed over and counted.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from neuroscribe.ports.replies import Reply
from neuroscribe.secrets.known import blotted
from resources.llm.prices import Prices
from resources.llm.wires import Body, Wire, failed, mapping

_ROOM, _ROOM_PER_TOKEN = 2**16, 2**6
"""Bytes that an answer may take, and each of its tokens: one is four letters, and a letter up to 12 bytes."""
_LEAST_LINE = 2**20


@dataclass(frozen=True)
class Asked:
    """What a job was asked, as far as it bounds its files: the names of its requests, and their length."""

    names: frozenset[str]
    wanted: frozenset[str]
    """Names whose answers are looked for now."""
    max_tokens: int

    @property
    def line_bytes(self) -> int:
        """The longest line that is read."""
        return max(_LEAST_LINE, self._answer_bytes)

    @property
    def file_bytes(self) -> int:
        """The most that is read of a file."""
        return self.line_bytes + len(self.names) * self._answer_bytes

    @property
    def _answer_bytes(self) -> int:
        return _ROOM + _ROOM_PER_TOKEN * self.max_tokens


@dataclass
class Answers:
    """Replies by the name of their request, and how many lines were none of them."""

    replies: dict[str, Reply] = field(default_factory=dict[str, Reply])
    passed_over: int = 0

    def __or__(self, other: "Answers") -> "Answers":
        """Return both; of two answers to one request the left one counts."""
        return Answers({**other.replies, **self.replies}, self.passed_over + other.passed_over)


async def read_answers(
    parts: AsyncIterator[bytes], asked: Asked, *, wire: Wire, prices: Prices
) -> Answers | None:
    """Return the answers in a file; None for a file of something else, as a page or half a line.

    What comes after `asked.file_bytes` is not read.
    """
    answers, named, blank = Answers(), False, True
    async for line in _lines(parts, asked):
        text = "" if line is None else blotted(line.decode("utf-8-sig", errors="replace"))
        entry = _object(text)
        name = entry.get("custom_id")
        blank, named = False, named or isinstance(name, str)
        if not isinstance(name, str) or name not in asked.names:
            answers.passed_over += 1
        elif name in asked.wanted and name not in answers.replies:
            answers.replies[name] = _reply(entry, text, wire, prices)
    return answers if named or blank else None


async def _lines(parts: AsyncIterator[bytes], asked: Asked) -> AsyncIterator[bytes | None]:
    """Yield the lines that are not blank, None in place of one that is too long.

    Only a line feed ends a line: JSON may hold U+2028 and the like, at which splitlines would cut as well.
    """
    line, is_long, left = bytearray(), False, asked.file_bytes
    async for part in parts:
        part = part[:left]
        left -= len(part)
        begin = 0
        while begin <= len(part):
            end = part.find(b"\n", begin)
            piece = part[begin : len(part) if end < 0 else end]
            is_long = is_long or len(line) + len(piece) > asked.line_bytes
            line += b"" if is_long else piece
            if end < 0:
                break
            if is_long or line.strip():
                yield None if is_long else bytes(line)
            line.clear()
            is_long, begin = False, end + 1
        if not left:
            break
    if is_long or line.strip():
        yield None if is_long else bytes(line)


def _reply(entry: Mapping[str, Any], line: str, wire: Wire, prices: Prices) -> Reply:
    response = mapping(entry.get("response"))
    answer = mapping(response.get("body"))
    if response.get("status_code") in (200, "200") and not entry.get("error"):
        with suppress(RecursionError):
            body = Body(json.dumps(answer))
            return wire.reply(body, wire.usage(body, prices))
    # The status is none that says anything by itself.
    verdict = wire.verdict(400, mapping(answer.get("error")))
    return failed(line, status="refused" if verdict == "withheld" else "failed")


def _object(line: str) -> dict[str, Any]:
    try:
        return mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}

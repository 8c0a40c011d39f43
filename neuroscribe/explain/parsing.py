"""What counts as an explanation: a phrase on one line, or JSON that holds a short and a long text.

Nothing that an answer may be instead (see `neuroscribe/llm/faults.py`) ever becomes a text. Reading an
explanation again changes nothing.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal, cast

from neuroscribe.explain.wording import AnswerForm
from neuroscribe.llm.faults import fault, without_thoughts
from neuroscribe.llm.json_answers import CutOffError, json_answer
from neuroscribe.ports.replies import Schema
from neuroscribe.text.escaping import storable

LONGEST, LONGEST_LONG = 300, 2000
"""Characters of a text and of a long text; longer ones are reasoning or copied excerpts."""
Status = Literal["ok", "refused", "unparsable", "truncated", "reasoning", "too_long", "empty"]
SCHEMA: Schema = {
    "type": "object",
    "properties": {"short": {"type": "string"}, "long": {"type": "string"}},
    "required": ["short", "long"],
    "additionalProperties": False,
}
_LEAD_IN = re.compile(
    r"^(\**(explanation|answer|in common)\**\s*:\s*\**\s*)?"
    r"(((this|the) neuron|neuron \d+)\s*(?=fires\b|activates\b|responds\b|$))?"
    r"((fires|activates|responds)\s+(mainly |mostly )?((on|for|to|in|when)\s+|(?=(just )?before\b)))?",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"""(?P<mark>["'`*]+)(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)""")


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says; it has texts exactly when the status is ok."""

    text: str | None
    long_text: str | None
    status: Status


def parsed_answer(answer: str, *, form: AnswerForm = "line", prefix: str = "") -> ParsedAnswer:
    """Return the explanation in an answer, or why there is none.

    A closed block of thoughts before the answer is left out. `prefix` is what every text of the explainer
    begins with, whether or not the answer repeats it.
    """
    said = without_thoughts(answer).strip()
    if not said:
        return _without_text("empty")
    if form == "schema":
        return _short_and_long(said, prefix)
    text = _phrase(said, prefix)
    return text if isinstance(text, ParsedAnswer) else ParsedAnswer(text, None, "ok")


def _short_and_long(said: str, prefix: str) -> ParsedAnswer:
    fields = _json_fields(said)
    if isinstance(fields, ParsedAnswer):
        return fields
    short, long = fields
    text = _phrase(short, prefix)
    if isinstance(text, ParsedAnswer):
        return text
    folded = " ".join(long.split())
    if not folded:
        return _without_text("empty")
    if found := fault(long):
        return _without_text(found)
    if len(folded) > LONGEST_LONG:
        return _without_text("too_long")
    return ParsedAnswer(text, folded, "ok")


def _json_fields(said: str) -> tuple[str, str] | ParsedAnswer:
    """Return the short and the long text of a JSON answer as they stand there."""
    try:
        data = json_answer(said)
    except CutOffError:
        return _without_text("truncated")
    except ValueError:
        return _without_text(fault(said) or "unparsable")
    fields = cast(dict[str, object], data) if isinstance(data, dict) else {}
    short, long = fields.get("short"), fields.get("long")
    if len(fields) != 2 or not isinstance(short, str) or not isinstance(long, str):
        return _without_text("unparsable")
    return storable(short), storable(long)


def _phrase(said: str, prefix: str) -> str | ParsedAnswer:
    """Return the one phrase that a text consists of."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return _without_text("empty")
    text = _bare(lines[0])
    if found := fault(lines[0]) or fault(text) or fault(said):
        return _without_text(found)
    if len(lines) > 1 or not re.search(r"\w", text) or _is_json(text):
        return _without_text("unparsable")
    text = _prefixed(text, prefix)
    return text if len(text) <= LONGEST else _without_text("too_long")


def _bare(text: str) -> str:
    """Return a phrase without lead-in and full stop, and without quotes or asterisks around the whole."""
    while True:
        bare = _LEAD_IN.sub("", text.strip(), count=1).strip().rstrip(".").strip()
        wrapped = _WRAPPED.fullmatch(bare)
        bare = wrapped["inside"] if wrapped else bare
        if bare == text:
            return text
        text = bare


def _prefixed(text: str, prefix: str) -> str:
    """Return a text that begins with the prefix, of which it may have the last words already."""
    words = prefix.split()
    for start in range(len(words)):
        tail = " ".join(words[start:]) + " "
        if text.lower().startswith(tail):
            return f"{prefix} {text[len(tail) :].strip()}"
    return f"{prefix} {text}" if prefix else text


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _without_text(status: Status) -> ParsedAnswer:
    return ParsedAnswer(None, None, status)

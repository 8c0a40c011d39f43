"""What counts as an explanation: a phrase on one line, or JSON that holds a short and a long text.

Nothing that an answer may be instead (see `neuroscribe/llm/faults.py`) ever becomes a text. Reading an
explanation again changes nothing.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Literal, cast

from neuroscribe.explain.wording import AnswerForm
from neuroscribe.llm.faults import fault, without_thoughts
from neuroscribe.llm.json_answers import CutOffError, json_answer
from neuroscribe.ports.replies import Schema
from neuroscribe.text.escaping import storable

LONGEST, LONGEST_LONG = 300, 2000
"""Characters of a text and of a long text; longer ones are reasoning or copied excerpts."""
Status = Literal[
    "ok", "refused", "unparsable", "truncated", "reasoning", "too_long", "empty", "no_theme", "unchanged"
]
SCHEMA: Schema = {
    "type": "object",
    "properties": {"short": {"type": "string"}, "long": {"type": "string"}},
    "required": ["short", "long"],
    "additionalProperties": False,
}
_SHORT = 3
"""Words of the items of a bare list."""
_HEADING = r"explanation|answer|description|label|in common|common (feature|theme|element|pattern|thread)s?"
_WORDS = r"(the|these|all|all of the) (marked |last |highlighted )?(words|tokens|phrases|excerpts|lines)"
_LEAD_IN = re.compile(
    rf"^(\**({_HEADING})\**\s*:\s*\**\s*)?"
    rf"({_WORDS}( (in|of) (these|the) (phrases|excerpts|lines|texts))?( all)? (are|have in common|share) +)?"
    r"(((this|the) neuron|neuron \d+)\s*(?=fires\b|activates\b|responds\b|$))?"
    r"((fires|activates|responds)\s+(mainly |mostly )?((on|for|to|in|when)\s+|(?=(just )?before\b)))?",
    re.IGNORECASE,
)
_HEADING_ALONE = re.compile(rf"[\W_]*({_HEADING})[\W_]*:[\W_]*", re.IGNORECASE)
_BULLET = re.compile(r"[-*•]\s+")
_WRAPPED = re.compile(r"""(?P<mark>["'`*]+)(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)""")


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says; it has texts exactly when the status is ok."""

    text: str | None
    long_text: str | None
    status: Status


class _NoTextError(Exception):
    """An answer holds no explanation."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status: Status = status


def parsed_answer(
    answer: str, *, form: AnswerForm = "line", prefix: str = "", no_theme: str = "", cut: bool = False
) -> ParsedAnswer:
    """Return the explanation in an answer, or why there is none.

    A closed block of thoughts before the answer is left out. `prefix` is what every text of the explainer
    begins with, whether or not the answer repeats it; `no_theme`, if given, is what an answer says that finds
    nothing to say. Of an answer that was `cut` off, a list counts without its last item: what it names, it
    names, and small models often find no end.
    """
    said = without_thoughts(answer).strip()
    if cut:
        said = said.rpartition(", ")[0]
        if form != "line" or "\n" in said or not (named_apart(said) or _goes_round(said)):
            return ParsedAnswer(None, None, "truncated")
    try:
        if form == "schema" and said:
            return _short_and_long(said, prefix, no_theme)
        return ParsedAnswer(_phrase(said, prefix, no_theme), None, "ok")
    except _NoTextError as error:
        return ParsedAnswer(None, None, error.status)


def same_words(one: str, other: str) -> bool:
    """Tell whether two texts are the same words in the same order."""
    first, second = (re.findall(r"\w+", text.casefold()) for text in (one, other))
    return bool(first) and first == second


def repeats(said: ParsedAnswer) -> ParsedAnswer:
    """Return what is made of an answer that says what was said before."""
    return replace(said, text=None, long_text=None, status="unchanged")


def _short_and_long(said: str, prefix: str, no_theme: str) -> ParsedAnswer:
    short, long = _json_fields(said)
    text, folded = _phrase(short, prefix, no_theme), " ".join(long.split())
    if not folded:
        raise _NoTextError("empty")
    if flaw := fault(long):
        raise _NoTextError(flaw)
    if len(folded) > LONGEST_LONG:
        raise _NoTextError("too_long")
    return ParsedAnswer(text, folded, "ok")


def _json_fields(said: str) -> tuple[str, str]:
    """Return the short and the long text of a JSON answer as they stand there."""
    try:
        data = json_answer(said)
    except CutOffError as error:
        raise _NoTextError("truncated") from error
    except ValueError as error:
        raise _NoTextError(fault(said) or "unparsable") from error
    fields = cast(dict[str, object], data) if isinstance(data, dict) else {}
    short, long = fields.get("short"), fields.get("long")
    if len(fields) != 2 or not isinstance(short, str) or not isinstance(long, str):
        raise _NoTextError("unparsable")
    return storable(short), storable(long)


def _phrase(said: str, prefix: str, no_theme: str) -> str:
    """Return the one phrase that a text consists of."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # A heading on a line of its own announces the answer; a second answer below it would stay.
    if len(lines) == 2 and _HEADING_ALONE.fullmatch(lines[0]):
        del lines[0]
    if not lines:
        raise _NoTextError("empty")
    text = _bare(lines[0])
    if no_theme and _prefixed(text, prefix).casefold() == _prefixed(no_theme, prefix).casefold():
        raise _NoTextError("no_theme")  # before it is taken for a refusal
    text = _without_repeats(text)
    if flaw := fault(lines[0]) or fault(text) or fault(said):
        raise _NoTextError(flaw)
    if len(lines) > 1 or not re.search(r"\w", text) or _is_json(text):
        raise _NoTextError("unparsable")
    text = _prefixed(text, prefix)
    if len(text) > LONGEST:
        raise _NoTextError("too_long")
    return text


def _bare(text: str) -> str:
    """Return a phrase without lead-in and full stop, and without quotes or asterisks around the whole."""
    while True:
        bare = _LEAD_IN.sub("", text.strip().lstrip(",;").strip(), count=1).strip().rstrip(".").strip()
        wrapped = _WRAPPED.fullmatch(bare)
        bare = wrapped["inside"] if wrapped else bare
        if bare == text:
            return text
        text = bare


def _items(text: str) -> tuple[str, list[str]]:
    """Return what stands before the first colon, with it, and the list that follows."""
    head, colon, rest = text.partition(": ")
    items = (rest if colon else text).split(", ")
    return (head + colon if colon else ""), [item.strip() for item in items]


def _without_repeats(text: str) -> str:
    """Return a text whose list names nothing twice: small models go on naming what they have named."""
    head, items = _items(text)
    return head + ", ".join(dict.fromkeys(items))


def named_apart(text: str) -> list[str] | None:
    """Return what a text of the form "kind: word, word" names, each with the kind; None for any other.

    A bare list counts from three items on, none of them longer than a few words: "towns in France, Spain" and
    clauses between commas are one text.
    """
    head, items = _items(text)
    is_list = (
        len(items) > 1 if head else len(items) > 2 and max(len(item.split()) for item in items) <= _SHORT
    )
    return [head + item for item in items] if is_list and all(items) else None


def _goes_round(said: str) -> bool:
    """Tell whether the last three items of a list have been named before."""
    _, items = _items(said)
    last, earlier = items[-3:], items[:-3]
    return len(last) == 3 and set(last) <= {*earlier}


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

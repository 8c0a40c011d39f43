"""Which part of a request a server does not take, by what it says when it rejects one.

Servers name it in a field of their error, as a place in the request, or in a sentence. What is found is left
out of the next attempt and no more: a part that was not sent, or that every request needs, is never found.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

SYSTEM = "system role"
"""Turns of the system, whose texts can stand at the head of the first question as well."""
PREFILL = "prefill"
"""An answer that is begun by the request."""

_ABOUT = {
    SYSTEM: re.compile(
        r"\bsystem\b.{0,40}\b(role|message|prompt|instruction|turn)|\b(role|message|prompt|instruction)s?\b"
        r".{0,60}\bsystem\b|developer instruction|\broles?\b|must alternate|jinja|chat[ _]template"
        r"|\buser\b.{0,20}\bassistant\b",
        re.IGNORECASE,
    ),
    PREFILL: re.compile(r"prefill|end with a user", re.IGNORECASE),
}
"""By what a sentence about a part that is no field of the request is known."""
_OF_TEMPLATE = re.compile(r"jinja|chat[ _]template|roles? must alternate|\bsystem role", re.IGNORECASE)
_UNEXPECTED = re.compile(r"unexpected keyword argument ['\"`]?(\w+)")
_TOO_MUCH = re.compile(r"too (large|long|high|big|many)|at most|maximum|exceed|less than|<=", re.IGNORECASE)
"""The field is known, then, and the study asks for too much."""
_PLACES = ("param", "parameter", "field", "property", "loc", "location", "path")
_BEFORE = (
    r"\b(parameter|param|argument|field|key|property|option|attribute|supplied|name|model|body)s?\W+"
    r"(\w+,\s*)*"
)
_AFTER = r"\b\W{0,3}(parameter\s+)?(is|was|are|does|do|must|may|can|should|cannot|not|has|un\w+|deprecated)\b"


def refused_part(said: str, error: object, body: Mapping[str, Any], optional: Sequence[str]) -> str | None:
    """Return which of the `optional` parts of a request it was rejected for; None where it names none.

    `said` are the server's words, `error` is its whole error as far as that was JSON, `body` what was sent.
    Of several parts it is the one named first: sentences may go on with a list of all fields there are.
    """
    said = _without_echo(said, body)
    fields = [] if _TOO_MUCH.search(said) else [name for name in optional if name in body]
    places = [re.findall(r"\w+", place) for place in _places(error)]
    for place in places:
        if named := [name for name in fields if name in place]:
            return named[0]
    # What points at another field may still quote these.
    elsewhere = any(name in place for place in places for name in body)
    first = {} if elsewhere else {name: at for name in fields if (at := _named(name, said)) is not None}
    if first:
        return min(first, key=first.__getitem__)
    return next((name for name in optional if name in _ABOUT and _ABOUT[name].search(said)), None)


def part_at_fault(said: str, optional: Collection[str]) -> str | None:
    """Return the part of a request that a server's own fault names: a template without a system, a keyword.

    llama.cpp and others answer so with HTTP 500; words that any fault may have are not enough there.
    """
    if keyword := _UNEXPECTED.search(said):
        return keyword[1] if keyword[1] in optional else None
    return SYSTEM if SYSTEM in optional and _OF_TEMPLATE.search(said) else None


def _named(field: str, said: str) -> int | None:
    """Return where a sentence names a field, and not just has its word in it; None where it does not."""
    quoted, placed = rf"['\"`\[(]{field}['\"`\])]", rf"(^|->\s*|;\s*|\w\.){field}\b|\b{field}\s*:"
    # Words of other scripts stand around a field's name without a space; some sentences end with the name.
    last = rf"[^\x00-\x7f]{field}\b|\b{field}[^\x00-\x7f]|:\s*{field}\W*$"
    sentence = rf"{quoted}|{placed}|{last}|{_BEFORE}{field}\b|\b{field}{_AFTER}"
    found = re.search(sentence, said, re.IGNORECASE | re.ASCII)
    return found.start() if found else None


def _places(error: object) -> Iterator[str]:
    """Yield the places in the request that an error points at, in whichever form."""
    left = [error]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += reversed(each)
        elif isinstance(each, Mapping):
            yield from (_joined(each[name]) for name in _PLACES if isinstance(each.get(name), str | list))
            # What was sent may come back in it, with the names of all its fields.
            left += reversed([value for name, value in each.items() if name != "input"])


def _joined(place: str | list[Any]) -> str:
    return place if isinstance(place, str) else ".".join(map(str, place))


def _without_echo(said: str, body: Mapping[str, Any]) -> str:
    """Return a server's words without what they repeat of the prompt, or of the whole request."""
    for text in _texts(body):
        for spelling in (" ".join(text.split()), json.dumps(text)[1:-1]):
            said = said.replace(spelling, "")
    return re.split(r"['\"]input['\"]\s*:", said)[0]


def _texts(sent: object) -> Iterator[str]:
    """Yield all texts of more than one word in a request: those of its prompt."""
    if isinstance(sent, str):
        yield from [sent] if " " in sent else []
    elif isinstance(sent, Mapping | list):
        for each in sent.values() if isinstance(sent, Mapping) else sent:
            yield from _texts(each)

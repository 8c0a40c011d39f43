"""Sentences as an LLM lists them, read strictly: each by its number, and none guessed."""

import re
from dataclasses import dataclass, field

from neuroscribe.llm.faults import fault, without_thoughts
from neuroscribe.ports.replies import ReadingStatus, Reply, Usage
from neuroscribe.text.escaping import storable

LONGEST = 600
"""Characters of a sentence; a longer one is no passage of a dozen words."""
_NUMBERED = re.compile(r"[\s*_]*(\d{1,4})[.):][*_]*\s+(\S.*)")
_BETWEEN = re.compile(r"\n|\s\|\s*(?=[*_]*\d{1,4}[.):])")
"""Answers of models that continue a text end with the line, so that all stand on one; others may use more."""
_WRAPPED = re.compile(r"""(?P<mark>["'`*_]+)(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)""")


@dataclass(frozen=True)
class Sentence:
    """One sentence, or why there is none."""

    text: str | None
    status: str = "ok"
    phrase: str | None = None
    """The token or phrase that a frame was filled with; None for what an LLM wrote."""


@dataclass(frozen=True)
class Listed:
    """What one call wrote: as many places as were asked for, in order."""

    lines: list[str | None]
    """None where the list has no sentence of that number, or two."""
    status: ReadingStatus = "ok"
    """Why some are missing; `ok` if none is."""
    usage: Usage = field(default_factory=Usage)
    raw: str = ""

    @property
    def sentences(self) -> list[Sentence]:
        """The sentences; one that was written before in the list is `repeated`, and says nothing new."""
        before = set[str]()
        found: list[Sentence] = []
        for line in self.lines:
            same = line is not None and line.casefold() in before
            found.append(
                Sentence(None, self.status) if line is None else Sentence(line, "repeated" if same else "ok")
            )
            before.add((line or "").casefold())
        return found


def sentences_in(reply: Reply, count: int) -> Listed:
    """Return the sentences that a reply lists by the numbers 1 to `count`, parted by bars or line breaks.

    A first one without a number continues the prompt's 1. The last one of an answer that was cut off is left
    out.
    """
    said = without_thoughts(reply.text or "").strip()
    parts = _BETWEEN.split(said)[: -1 if reply.status == "truncated" else None]
    listed: dict[int, list[str]] = {}
    for place, part in enumerate(parts):
        found = _NUMBERED.fullmatch(part.strip())
        if found or (not place and _continues(said)):
            number, text = (int(found[1]), found[2]) if found else (1, part)
            listed.setdefault(number, []).append(_bare(text))
    every = [listed.get(number, []) for number in range(1, count + 1)]
    texts = [each[0] if len(each) == 1 and _is_sentence(each[0]) else None for each in every]
    if None not in texts:
        return Listed(texts, "ok", reply.usage, reply.raw)
    status: ReadingStatus = "unparsable" if reply.status == "ok" else reply.status
    declined = reply.status == "ok" and not listed and fault(said) == "refused"
    return Listed(texts, "refused" if declined else status, reply.usage, reply.raw)


def _continues(said: str) -> bool:
    """Tell whether an answer goes on after the first number: a second one follows, and there is no first."""
    numbers = [int(found[1]) for part in _BETWEEN.split(said) if (found := _NUMBERED.fullmatch(part.strip()))]
    return 1 not in numbers and 2 in numbers[:1]


def _bare(text: str) -> str:
    """Return a sentence without quotation marks or asterisks around the whole."""
    stripped = storable(text).strip()
    wrapped = _WRAPPED.fullmatch(stripped)
    return wrapped["inside"].strip() if wrapped else stripped


def _is_sentence(text: str) -> bool:
    return len(text) <= LONGEST and re.search(r"\w", text) is not None

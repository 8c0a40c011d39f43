"""Finds the words that an answer copies out of a text (docs/decisions/0015-copied-words.md has the reasons).

The rule: phrases are parted by commas with a space after them, or stand on lines of their own; what the text
does not hold as it stands may be parted by other marks or by `and`. A phrase counts wherever the text holds
it and no word of the text goes on beyond its ends: as written if it occurs so, else in any case, else without
the punctuation around it. All its occurrences count, for the answer says which word and not where. What the
text does not hold is counted and says nothing.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from neuroscribe.escaping import unescaped
from neuroscribe.simulate.spans import Span

_LONGEST = 8
"""Words of a phrase; a longer one that the text does not hold is prose."""
_LONGEST_SLIP = 4
"""The same in an answer of which the text holds nothing at all."""
_AGAIN = 6
"""Phrases in a row that say nothing new, after which an answer is known to go round in circles."""
_NOTHING = re.compile(
    r"(nothing|n/a|none of [^,]*|no ((matching|fitting|such|relevant) )?words?\b[^,]*"
    r"|there (is|are) no[^,]*|\[\s*\])\W*",
    re.IGNORECASE,
)
"""Other ways to say that no word fits; they count only where the text does not hold them."""
_PARTING = re.compile(r",\s+|\s*\n\s*")
_PARTING_ELSE = re.compile(r"\s*[;|/&,]\s*|(?:^|\s+)and\s+", re.IGNORECASE)
_JSON_LIST = re.compile(r'\{\s*"[^"]*"\s*:\s*(\[.*\])\s*\}', re.DOTALL)
_BULLET = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_FORGED = re.compile(r"(?<=[<\[]) |(?<=>) (?=>)")
"""The spaces that keep corpus text from forming marks (neuroscribe/escaping.py)."""
_EDGES = " \t\r\n\"'`“”‘’«»*()[]{}.,;:!?…"


@dataclass(frozen=True)
class Copied:
    """What an answer copied out of a text."""

    spans: tuple[Span, ...] = ()
    """Where the text holds what was copied."""
    unmatched: tuple[str, ...] = ()
    """Phrases that the text does not hold."""
    circles: bool = False
    """Whether a phrase is listed more often than the text holds it, so that the list has begun anew."""

    @property
    def has_prose(self) -> bool:
        """Whether some phrase is too long to be a slip in copying."""
        longest = _LONGEST if self.spans else _LONGEST_SLIP
        return any(len(phrase.split()) > longest for phrase in self.unmatched)


def copied(answer: str, text: str, *, label: str, nothing: str, cut: bool = False) -> Copied:
    """Return where `text` holds what an answer lists.

    `label` may stand before the list, with a colon; `nothing` is the word for an empty list. Of an answer
    that was `cut` off, the last phrase does not count.
    """
    said = _without_label(answer, label)
    if said.strip(_EDGES).lower() == nothing:
        return Copied()
    listed = _listed(said)[: -1 if cut else None]
    phrases = [part for phrase in listed for part in _parts(phrase, text)]
    found = {phrase: _places(phrase, text) for phrase in dict.fromkeys(phrases)}
    if _NOTHING.fullmatch(said) and not any(found.values()):
        return Copied()
    times = Counter(phrases)
    return Copied(
        tuple(dict.fromkeys(span for places in found.values() for span in places)),
        tuple(phrase for phrase, places in found.items() if not places),
        any(times[phrase] > max(1, len(places)) for phrase, places in found.items()),
    )


def goes_round(answer: str, text: str, *, label: str) -> bool:
    """Tell whether the last whole phrases of an answer that is being written all stand in it before.

    They must also be more than the text holds: a text may say one word many times.
    """
    phrases = _listed(_without_label(answer, label))[:-1]
    before, last = phrases[:-_AGAIN], phrases[-_AGAIN:]
    if len(last) < _AGAIN or not set(last) <= set(before):
        return False
    times = Counter(phrases)
    return all(times[phrase] > max(1, len(_places(phrase, text))) for phrase in set(last))


def _without_label(answer: str, label: str) -> str:
    said = re.sub(rf"^[*_\s]*{re.escape(label)}[*_\s]*:[*_\s]*", "", answer.strip(), flags=re.IGNORECASE)
    in_json = _JSON_LIST.fullmatch(said)
    return in_json[1] if in_json else said


def _listed(said: str) -> list[str]:
    """Return the phrases of a list; an item that is empty is a copied comma."""
    return [_BULLET.sub("", item) or "," for item in _PARTING.split(said)]


def _parts(phrase: str, text: str) -> list[str]:
    """Return what other marks part in a phrase, if the text holds some part and not the whole."""
    parts = [part for part in _PARTING_ELSE.split(phrase) if part]
    if _places(phrase, text) or not any(_places(part, text) for part in parts):
        return [phrase]
    return parts


def _places(phrase: str, text: str) -> list[Span]:
    for form in dict.fromkeys((phrase, unescaped(phrase), _FORGED.sub("", phrase), phrase.strip(_EDGES))):
        for flags in (re.NOFLAG, re.IGNORECASE):
            spans = [found.span() for found in re.finditer(re.escape(form), text, flags)] if form else []
            if whole := [span for span in spans if _is_whole(span, text)]:
                return whole
    return []


def _is_whole(span: Span, text: str) -> bool:
    """Tell whether no word of the text goes on beyond either end of a span."""
    start, stop = span
    return not (
        _joined(text[start - 1 : start], text[start]) or _joined(text[stop - 1], text[stop : stop + 1])
    )


def _joined(one: str, other: str) -> bool:
    return _is_letter(one) and _is_letter(other)


def _is_letter(character: str) -> bool:
    """Tell whether a character is part of a word; in wide scripts, without spaces, every run is a word."""
    if not character or unicodedata.east_asian_width(character) in "WF":
        return False
    return character == "_" or unicodedata.category(character)[0] in "LMN"

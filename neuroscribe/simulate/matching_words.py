"""The simulator `matching_words`: the model copies the words that fit the explanation.

One short question a sequence, and every token of a copied word is 10, every other 0. Models too small to rate
tokens one by one can still do this; what they cannot say is how well a word fits.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from neuroscribe.llm.faults import fault
from neuroscribe.ports.replies import Message, ReadingStatus, Reply, Simulated
from neuroscribe.simulate.distribution import without_values
from neuroscribe.simulate.prompts import conversation, wording
from neuroscribe.simulate.replied import Replied
from neuroscribe.text.escaping import escaped, unescaped, unforged
from neuroscribe.text.spans import Span, text_and_spans, touched

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
"""The spaces that keep corpus text from forming marks (neuroscribe/text/escaping.py)."""
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
    # Where an answer was cut off, nobody knows whether its last phrase has ended.
    listed = _listed(said)[: -1 if cut else None]
    phrases = [part for phrase in listed for part in _parts(phrase, text)]
    places_of = {phrase: _places(phrase, text) for phrase in dict.fromkeys(phrases)}
    if _NOTHING.fullmatch(said) and not any(places_of.values()):
        return Copied()
    times = Counter(phrases)
    return Copied(
        tuple(dict.fromkeys(span for places in places_of.values() for span in places)),
        tuple(phrase for phrase, places in places_of.items() if not places),
        any(_too_often(times[phrase], places) for phrase, places in places_of.items()),
    )


def _too_often(times: int, places: Sequence[Span]) -> bool:
    """Tell whether a phrase is listed more often than a text holds it; once is never too often."""
    return times > max(1, len(places))


def goes_round(answer: str, text: str, *, label: str) -> bool:
    """Tell whether the last whole phrases of an answer that is being written all stand in it before.

    They must also be more than the text holds: a text may say one word many times.
    """
    # The last phrase is still being written; small models repeat the same few phrases for ever, so that all
    # of several in a row must be old ones: a single one comes again in any list.
    phrases = _listed(_without_label(answer, label))[:-1]
    before, last = phrases[:-_AGAIN], phrases[-_AGAIN:]
    if len(last) < _AGAIN or not set(last) <= set(before):
        return False
    times = Counter(phrases)
    return all(_too_often(times[phrase], _places(phrase, text)) for phrase in set(last))


def _without_label(answer: str, label: str) -> str:
    said = re.sub(rf"^[*_\s]*{re.escape(label)}[*_\s]*:[*_\s]*", "", answer.strip(), flags=re.IGNORECASE)
    in_json = _JSON_LIST.fullmatch(said)
    return in_json[1] if in_json else said


def _listed(said: str) -> list[str]:
    """Return the phrases of a list; an item that is empty is a copied comma."""
    return [_BULLET.sub("", item) or "," for item in _PARTING.split(said)]


def _parts(phrase: str, text: str) -> list[str]:
    """Return what other marks part in a phrase, if the text holds some part and not the whole."""
    # Only where the whole is not there: "salt and pepper" may be what the text says.
    parts = [part for part in _PARTING_ELSE.split(phrase) if part]
    if _places(phrase, text) or not any(_places(part, text) for part in parts):
        return [phrase]
    return parts


def _places(phrase: str, text: str) -> list[Span]:
    """Return where a text holds a phrase as whole words, in the form closest to what was said."""
    # A copy is of what the prompt shows (escaped, with spaces in marks), and models quote it. The strictest
    # form that fits decides, so that "US" is not also every "us".
    for form in dict.fromkeys((phrase, unescaped(phrase), _FORGED.sub("", phrase), phrase.strip(_EDGES))):
        for flags in (re.NOFLAG, re.IGNORECASE):
            spans = [match.span() for match in re.finditer(re.escape(form), text, flags)] if form else []
            if whole := [span for span in spans if _is_whole(span, text)]:
                return whole
    return []


def _is_whole(span: Span, text: str) -> bool:
    """Tell whether no word of the text goes on beyond either end of a span."""
    start, stop = span
    ends = ((text[start - 1 : start], text[start]), (text[stop - 1], text[stop : stop + 1]))
    return not any(_is_letter(before) and _is_letter(after) for before, after in ends)


def _is_letter(character: str) -> bool:
    """Tell whether a character is part of a word; in wide scripts, without spaces, every run is a word."""
    if not character or unicodedata.east_asian_width(character) in "WF":
        return False
    # Marks (M) belong to the letter before them: a vowel sign of Devanagari, or an accent set apart.
    return character == "_" or unicodedata.category(character)[0] in "LMN"


_FITS = 10.0


class MatchingWords(Replied):
    """The model copies the words that fit: without log-probabilities, and best with small models."""

    kind: Literal["matching_words"] = "matching_words"

    def messages(self, explanation: str, tokens: Sequence[bytes]) -> list[Message]:
        """Return the prompt; its last message is the beginning of the answer."""
        data = wording(self.kind_name)
        worked = [
            (
                _question(each["explanation"], each["text"]),
                f"{data['label']}: {', '.join(each['words']) or data['nothing']}",
            )
            for each in data["example"]
        ]
        text = unforged(escaped(text_and_spans(tokens)[0].encode()).strip())
        turns = conversation(data["instruction"], worked, _question(unforged(explanation), text))
        return [*turns, Message("assistant", f"{data['label']}:")]

    def longest_answer(self, tokens: Sequence[bytes]) -> int:
        """Return enough for a copy of the whole text with its commas."""
        return 32 + 2 * len(tokens)

    def enough(self, answer: str, tokens: Sequence[bytes]) -> bool:
        """Tell whether an answer goes round in circles, and has for some time."""
        return goes_round(answer, text_and_spans(tokens)[0], label=wording(self.kind_name)["label"])

    def reading(self, reply: Reply, tokens: Sequence[bytes]) -> Simulated:
        """Return 10 for every token that has a character in a copied word, 0 for every other.

        An answer that was cut off counts if it went round in circles: it had said all it had to say.
        """
        text, spans = text_and_spans(tokens)
        data = wording(self.kind_name)
        cut = reply.status == "truncated"
        answer = copied(reply.text or "", text, label=data["label"], nothing=data["nothing"], cut=cut)
        if status := _fault(reply, answer):
            return without_values(len(tokens), status)
        values = [0.0] * len(tokens)
        for start, stop in answer.spans:
            for place in touched(spans, start, stop):
                values[place] = _FITS
        return Simulated(tuple(values), None, unmatched_words=len(answer.unmatched))


def _fault(reply: Reply, answer: Copied) -> ReadingStatus | None:
    """Return why an answer cannot be read, if it cannot."""
    if not (reply.text or "").strip():
        return "unparsable"
    # Copied words alone may read like a refusal ("I cannot") if the text does.
    seen = fault(reply.text or "") if answer.unmatched else None
    if seen == "refused":
        return "refused"
    if reply.status == "truncated" and not answer.circles:
        return "truncated"
    # Words that are not there are words; an error or a page, of which the text holds nothing, is no list.
    return "unparsable" if answer.has_prose or (seen and not answer.spans) else None


def _question(explanation: str, text: str) -> str:
    return f"Explanation: {explanation}\nText: {text}"

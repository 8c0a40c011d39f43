"""Phrases as explanations: a word where a neuron fires with some words before it, written and read back.

A phrase ends at its word. `the end of "a city in Spain"` is an explanation of its own, which a person can
read, and which a sentence encoder reads as the word in that context (`meant`).
"""

import re
from collections.abc import Iterable, Sequence

from neuroscribe.text.escaping import QUOTED, escaped, quoted
from neuroscribe.text.spans import text_and_spans

_PART, _WHOLE = "the end of ", "the ends of the phrases "
_ENDING = re.compile(re.escape(_PART) + QUOTED)
_LAST = re.compile(r"(?:\w(?:[\w'’]*\w)?|[^\w\s]+)$")
_LONGEST_WORD, _LONGEST_PHRASE = 40, 160
"""Characters: scripts without spaces have words as long as a text."""


def phrase_at(tokens: Sequence[bytes], place: int, before: int) -> str:
    """Return (escaped) the whole word that the token at a place belongs to, and `before` words before it.

    Words are what spaces part, and in the last one letters and digits that adjoin, or other characters by
    themselves. Empty where the token is blank.
    """
    text, spans = text_and_spans(tokens)
    start, stop = spans[place]
    core = text[start:stop].strip()
    if not core:
        return ""
    start = text.index(core, start)
    start, stop = _whole_word(text, start, start + len(core))
    words = [word.start() for word in re.finditer(r"\S+", text[:start])]
    first = words[-before] if before and len(words) >= before else 0 if before else start
    shown = text[max(first, stop - _LONGEST_PHRASE) : stop]
    return escaped(" ".join(shown.split()).encode())


def peak_phrase(tokens: Sequence[bytes], place: int, before: int) -> str:
    """Return the phrase at a place, or the token alone, escaped, where it is blank."""
    return phrase_at(tokens, place, before) or escaped(tokens[place])


def distinct(phrases: Iterable[str]) -> list[str]:
    """Return the phrases that are not empty, of those that differ in capitals alone the first."""
    known: dict[str, str] = {}
    for phrase in phrases:
        if phrase:
            known.setdefault(phrase.casefold(), phrase)
    return list(known.values())


def ends_text(phrases: Sequence[str]) -> str:
    """Return an explanation that names the ends of some (escaped) phrases."""
    return _WHOLE + ", ".join(map(quoted, phrases)) if len(phrases) > 1 else end_text(phrases[0])


def end_text(phrase: str) -> str:
    """Return an explanation that names the end of an (escaped) phrase."""
    return _PART + quoted(phrase)


def meant(text: str) -> tuple[str, int] | None:
    """Return the phrase whose end an explanation names, and where in it that begins; None for any other."""
    found = _ENDING.fullmatch(text)
    if found is None or not found[1]:
        return None
    phrase = found[1].replace('\\"', '"')
    return phrase, end_begins(phrase)


def end_begins(phrase: str) -> int:
    """Return where the end of a phrase begins: its last word, or the signs behind it."""
    last = _LAST.search(phrase)
    return last.start() if last else 0


def _whole_word(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where the word around some characters begins and ends; marks by themselves are no word's."""
    if not re.search(r"\w", text[start:stop]):
        return start, stop
    while start > 0 and _is_letter(text[start - 1]) and stop - start < _LONGEST_WORD:
        start -= 1
    while stop < len(text) and _is_letter(text[stop]) and stop - start < _LONGEST_WORD:
        stop += 1
    return start, stop


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"

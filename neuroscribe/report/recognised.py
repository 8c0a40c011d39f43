"""Which neurons a report begins with: those that a person recognises at a glance.

A score does not tell: a text may be right by other words than those at which its neuron is seen to peak.
"""

import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from neuroscribe.report.described import Described
from neuroscribe.text.escaping import quotations, unescaped
from neuroscribe.text.phrases import end_begins

LEADING = 3
"""Neurons that a report begins with."""
LOOKED_AT = 30
"""Explained neurons, the best, among which these are looked for."""
_SHORTEST = 4
"""Letters of words that may be forms of each other; "for" and "forest" are none."""


def recognised(explained: Sequence[Described]) -> tuple[Described, ...]:
    """Return the first three of explained neurons, before all others those whose text names their peaks."""
    return tuple(sorted(explained, key=lambda neuron: not names_its_peaks(neuron))[:LEADING])


def names_its_peaks(neuron: Described) -> bool:
    """Tell whether a text names most of the words, or forms of them, at which its neuron is shown to peak."""
    text = neuron.text or ""
    peaks = [excerpt.marked()[1].decode(errors="replace").strip().casefold() for excerpt in neuron.excerpts]
    said = _said(text, by_llm=bool(neuron.by_llm))
    named = [peak for peak in peaks if _is_named(peak, said) or _stands_in(peak, text.casefold())]
    return 2 * len(named) > len(peaks)


def _said(text: str, *, by_llm: bool) -> list[str]:
    """Return what a text names: what it quotes, and its words where they are a model's own.

    Of a phrase that is quoted the end is meant; the words around a list say the same of every neuron.
    """
    quoted = [unescaped(each).strip().casefold() for each in quotations(text)]
    ends = [each[end_begins(each) :] for each in quoted if each]
    return [*ends, *_words(text)] if by_llm or not quoted else ends


def _is_named(peak: str, said: Sequence[str]) -> bool:
    return peak in said or any(_are_forms(word, own) for word in said for own in _words(peak))


def _stands_in(peak: str, text: str) -> bool:
    """Tell whether a word stands in a text of a script that may put no spaces between words."""
    return len(peak) > 1 and not peak.isascii() and peak in text


def _words(text: str) -> list[str]:
    """Return runs of letters, marks on them and digits; signs of vowels are marks in many scripts."""
    kinds = (unicodedata.category(character)[0] in "LMN" for character in text)
    return "".join(each if kept else " " for each, kept in zip(text, kinds, strict=True)).casefold().split()


def _are_forms(word: str, other: str) -> bool:
    """Tell whether two words are one, or begin alike up to half of the longer: "begins" and "began"."""
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False))))
    shorter, longer = sorted((len(word), len(other)))
    return word == other or (shorter >= _SHORTEST and 2 * alike >= longer)

"""Which neurons a report begins with: those that a person recognises at a glance.

A score does not tell: a text may be right by other words than those at which its neuron is seen to peak.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from neuroscribe.report.described import Described

LEADING = 3
"""Neurons that a report begins with."""
LOOKED_AT = 30
"""Explained neurons, the best, among which these are looked for."""
_ALIKE = 3
"""Letters that a word and a form of it begin with, at least."""


def recognised(explained: Sequence[Described]) -> tuple[Described, ...]:
    """Return the first three of explained neurons, before all others those whose text names their peaks."""
    return tuple(sorted(explained, key=lambda neuron: not names_its_peaks(neuron))[:LEADING])


def names_its_peaks(neuron: Described) -> bool:
    """Tell whether a text names most of the words, or forms of them, at which its neuron is shown to peak."""
    said = _words(neuron.text or "")
    named = sum(
        any(_are_forms(word, peak) for word in said for peak in _words(excerpt.peak.decode(errors="replace")))
        for excerpt in neuron.excerpts
    )
    return 2 * named > len(neuron.excerpts)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _are_forms(word: str, other: str) -> bool:
    """Tell whether two words are one, or begin alike as "begins" and "began" do."""
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False))))
    return word == other or (alike >= _ALIKE and 2 * alike >= min(len(word), len(other)))

"""Excerpts as lists of pairs: token and activation, or activation and the token that follows.

Method of Bills et al. 2023: activations are discretised to 0..10 by the neuron's own all-time maximum, and
when few tokens fire they are listed once more by themselves.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from neuroscribe.explain.wording import AnswerForm, Wording, filled
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import escaped
from neuroscribe.text.marks import Pair

SPARSE = 0.2
"""Share of firing tokens below which they are listed once more (paper)."""
Excerpts = Sequence[Sequence[Pair]]
"""Tokens with the activation there; of next tokens, with the activation at the token before."""
Line = Callable[[Pair], str]
"""Writes a pair."""


def discretised(
    activations: Float[np.ndarray, "*shape"], *, maximum: float, polarity: int
) -> Int[np.ndarray, "*shape"]:
    """Return activations on the explained side as integers 0..10; `maximum` is polarity x the extreme.

    floor(10 x / maximum), clipped to 0..10; all zero when the neuron never fires on that side.
    """
    if maximum <= 0:
        return np.zeros(activations.shape, dtype=np.int64)
    return np.floor(10 * polarity * activations.astype(np.float64) / maximum).clip(0, 10).astype(np.int64)


def excerpt_pairs(
    tokens: Sequence[bytes], values: Int[np.ndarray, " token"], *, peak: int, length: int
) -> list[Pair]:
    """Return at most `length` (token, value) pairs: two thirds before the peak, the rest from it on."""
    start = min(max(0, peak - (2 * length) // 3), max(0, len(tokens) - length))
    return [
        (escaped(token), int(value))
        for token, value in zip(tokens[start : start + length], values[start : start + length], strict=True)
    ]


def pair_messages(
    wording: Wording,
    excerpts: Excerpts,
    answer: AnswerForm,
    *,
    line: Line,
    shown: Callable[[Sequence[Pair]], Sequence[Pair]] = lambda pairs: pairs,
) -> tuple[Message, ...]:
    """Return a prompt that lists pairs; worked neurons are `shown` by their tokens and activations."""
    worked = [
        _question(wording, number, [shown(_as_pairs(pairs)) for pairs in example.shown["excerpts"]], line)
        for number, example in enumerate(wording.examples, start=1)
    ]
    return wording.messages(worked, _question(wording, len(worked) + 1, excerpts, line), answer)


def _question(wording: Wording, number: int, excerpts: Excerpts, line: Line) -> str:
    blocks = [
        filled(wording.parts["excerpt"], number=str(place), pairs=_listed(pairs, line))
        for place, pairs in enumerate(excerpts, start=1)
    ]
    every = [pair for pairs in excerpts for pair in pairs]
    firing = [pair for pair in every if pair[1] > 0]
    if firing and len(firing) < SPARSE * len(every):
        blocks.append(filled(wording.parts["firing"], pairs=_listed(firing, line)))
    return filled(wording.question, number=str(number), evidence="\n".join(blocks))


def _listed(pairs: Sequence[Pair], line: Line) -> str:
    return "\n".join(line(pair) for pair in pairs)


def _as_pairs(written: Sequence[Sequence[str | int]]) -> list[Pair]:
    return [(str(token), int(value)) for token, value in written]

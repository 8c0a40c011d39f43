"""Excerpts as lists of pairs: token and activation, or activation and the token that follows.

Method of Bills et al. 2023: activations are discretised to 0..10 by the neuron's own all-time maximum, and
when few tokens fire they are listed once more by themselves. Their next-token explanations show what comes
after a token instead of the token.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from neuroscribe.explain.wording import Wording, filled, wording
from neuroscribe.ports.replies import Message
from neuroscribe.study.explainers import AnswerForm
from neuroscribe.text.escaping import escaped, unforged

SPARSE = 0.2
"""Share of firing tokens below which they are listed once more (paper)."""
Pair = tuple[str, int]
"""A token as shown, and the activation there; for next tokens the activation at the token before."""
Excerpts = Sequence[Sequence[Pair]]


def token_pair_messages(excerpts: Excerpts, answer: AnswerForm = "line") -> tuple[Message, ...]:
    """Return the prompt that shows tokens with their activations."""
    return _messages(wording("token_pairs"), lambda pairs: pairs, excerpts, answer, _token_first)


def next_token_messages(excerpts: Excerpts, answer: AnswerForm = "line") -> tuple[Message, ...]:
    """Return the prompt that shows activations with the tokens that follow; `excerpts` are of such pairs."""
    return _messages(wording("next_token"), following, excerpts, answer, _activation_first)


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


def following(pairs: Sequence[Pair]) -> list[Pair]:
    """Return each token but the first with the activation at the one before it."""
    return [(token, value) for (_, value), (token, _) in pairwise(pairs)]


def _messages(
    own: Wording,
    pairs_of: Callable[[Sequence[Pair]], Sequence[Pair]],
    excerpts: Excerpts,
    answer: AnswerForm,
    line: Callable[[Pair], str],
) -> tuple[Message, ...]:
    """Return a prompt whose worked neurons are shown by `pairs_of` their tokens and activations."""
    worked = [
        _question(own, number, [pairs_of(_as_pairs(pairs)) for pairs in example.shown["excerpts"]], line)
        for number, example in enumerate(own.examples, start=1)
    ]
    return own.messages(worked, _question(own, len(worked) + 1, excerpts, line), answer)


def _question(own: Wording, number: int, excerpts: Excerpts, line: Callable[[Pair], str]) -> str:
    blocks = [
        filled(own.parts["excerpt"], number=str(place), pairs=_listed(pairs, line))
        for place, pairs in enumerate(excerpts, start=1)
    ]
    every = [pair for pairs in excerpts for pair in pairs]
    firing = [pair for pair in every if pair[1] > 0]
    if firing and len(firing) < SPARSE * len(every):
        blocks.append(filled(own.parts["firing"], pairs=_listed(firing, line)))
    return filled(own.question, number=str(number), evidence="\n".join(blocks))


def _listed(pairs: Sequence[Pair], line: Callable[[Pair], str]) -> str:
    return "\n".join(line(pair) for pair in pairs)


def _token_first(pair: Pair) -> str:
    return f"{unforged(pair[0])}\t{pair[1]}"


def _activation_first(pair: Pair) -> str:
    return f"{pair[1]}\t{unforged(pair[0])}"


def _as_pairs(written: Sequence[Sequence[str | int]]) -> list[Pair]:
    return [(str(token), int(value)) for token, value in written]

"""Concepts that no single token shows, labels of them that are right and wrong, and texts that hold them.

A bigram, a position, two senses of unlike strength and a rare token; further neurons follow one word each.
What a neuron does is a function of a token, the one before it and its place (`concepts_subject.py` holds the
model that does it), so the true correlation of a label over a whole corpus is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WINDOW, HALF = 16, 8
"""Tokens of a sequence, which is all that the model has positions for, and of its first half."""
STRONG, WEAK = 6.0, 3.097373
"""Activations: GELU of 6 and, for the weak one of two senses, of 3.1."""

ONE, OF, SENSE, OTHER_SENSE, RARE, COMMA = " one", " of", " light", " paper", " quark", ","
OTHER_RARE = (" quasar", " quota", " quiver", " quiz")
WORDS = (" red", " rain", " saw", " foot", " harp", " cairo", " plum", " walk")
"""Each has a neuron of its own."""
PLAIN = (
    " the",
    " a",
    " in",
    " and",
    " on",
    " was",
    " is",
    " they",
    " we",
    " said",
    " with",
    " that",
    " it",
    " to",
)
GROUPS: tuple[tuple[str, ...], ...] = (
    *((token,) for token in (ONE, OF, SENSE, OTHER_SENSE, RARE, COMMA, *WORDS)), OTHER_RARE, PLAIN,
)  # fmt: skip
"""Tokens that the model does not tell apart; bytes and the end of text form one more."""
WHOLE_TOKENS = tuple(token for group in GROUPS for token in group)
_SHARES = {
    **{ONE: 0.012, OF: 0.05, COMMA: 0.05, SENSE: 0.004, OTHER_SENSE: 0.064, RARE: 0.001},
    **dict.fromkeys(OTHER_RARE, 0.00125),
    **dict.fromkeys(WORDS, 0.02),
}
"""Share of all tokens; the plain words have the rest.

The rare word is in one to two of 100 sequences, the others like it together in about four times as many.
"""
_OF_AFTER_ONE = 0.5
"""Share of `one` that `of` follows beside those that it follows by chance."""


class At(NamedTuple):
    """A token where it stands."""

    token: str
    before: str
    """The token before it, "" where there is none."""
    place: int


def placed(tokens: Sequence[str]) -> list[At]:
    """Return the tokens of a sequence where they stand."""
    pairs = zip(tokens, ["", *tokens[:-1]], strict=True)
    return [At(token, before, place) for place, (token, before) in enumerate(pairs)]


@dataclass(frozen=True)
class Label:
    """An explanation and what it simulates, from 0 to 9."""

    text: str
    digit: Callable[[At], int]

    def digits(self, tokens: Sequence[str]) -> list[int]:
        """Return what it simulates for the tokens of a sequence."""
        return [self.digit(at) for at in placed(tokens)]


@dataclass(frozen=True)
class Concept:
    """What a neuron follows, and explanations of it, the right one first."""

    activation: Callable[[At], float]
    labels: tuple[Label, ...]
    reads: Mapping[tuple[str, ...] | int, float]
    """Contributions to what enters GELU, of the token's group (named by its tokens) or a position."""
    before: Mapping[tuple[str, ...], float] = field(default_factory=dict[tuple[str, ...], float])
    """The same of the group of the token before."""
    bias: float = -10.0

    def activations(self, tokens: Sequence[str]) -> list[float]:
        """Return the activations on the tokens of a sequence."""
        return [self.activation(at) for at in placed(tokens)]


def _words(text: str, *tokens: str) -> Label:
    return Label(text, lambda at: 9 * (at.token in tokens))


def _late(text: str, first: int) -> Label:
    return Label(text, lambda at: 9 * (at.place >= first))


def _early(label: Label) -> Label:
    """Narrow a label to the first half of a sequence."""
    return Label(f"{label.text}, at the beginning", lambda at: label.digit(at) * (at.place < HALF))


def _opposite(label: Label) -> Label:
    """Say of everything that a label says nothing of, and of nothing else."""
    return Label(f"all but {label.text}", lambda at: 9 - label.digit(at))


def _is_bigram(at: At) -> bool:
    return (at.before, at.token) == (ONE, OF)


_OF_ONE = Label("the word of right after the word one", lambda at: 9 * _is_bigram(at))
_HALF = _late("all tokens of the second half", HALF)
_SENSES = {SENSE: 9, OTHER_SENSE: 5}
_GRADED = Label("light and half as much paper", lambda at: _SENSES.get(at.token, 0))
_QUARK = _words("the word quark", RARE)

BIGRAM = Concept(
    lambda at: STRONG * _is_bigram(at),
    (_OF_ONE, _words("every word of", OF), _early(_OF_ONE), _words("the word one", ONE), _opposite(_OF_ONE)),
    reads={(OF,): 16.0},
    before={(ONE,): 16.0},
    bias=-26.0,
)
POSITION = Concept(
    lambda at: STRONG * (at.place >= HALF),
    (
        _HALF,
        _late("all tokens but the first three", 3),
        _late("the last two tokens", WINDOW - 2),
        _words("commas", COMMA),
        _opposite(_HALF),
    ),
    reads=dict.fromkeys(range(HALF, WINDOW), 16.0),
)
TWO_SENSES = Concept(
    lambda at: {SENSE: STRONG, OTHER_SENSE: WEAK}.get(at.token, 0.0),
    (
        _GRADED,
        Label(f"commas, {_GRADED.text}", lambda at: _GRADED.digit(at) or 9 * (at.token == COMMA)),
        _words("the word light", SENSE),
        _words("the word paper", OTHER_SENSE),
        _opposite(_GRADED),
    ),
    reads={(SENSE,): 16.0, (OTHER_SENSE,): 13.1},
)
RARE_TOKEN = Concept(
    lambda at: STRONG * (at.token == RARE),
    (
        _QUARK,
        _words("quark, quasar, quota, quiver and quiz", RARE, *OTHER_RARE),
        _early(_QUARK),
        _words("the word quota", OTHER_RARE[1]),
        _opposite(_QUARK),
    ),
    reads={(RARE,): 16.0},
)


def _word(word: str) -> Concept:
    return Concept(
        lambda at: STRONG * (at.token == word), (_words(f"the word{word}", word),), reads={(word,): 16.0}
    )


CONCEPTS = (BIGRAM, POSITION, TWO_SENSES, RARE_TOKEN, *map(_word, WORDS))
"""By neuron."""
NAMED = {"bigram": 0, "position": 1, "two_senses": 2, "rare_token": 3}
"""Neurons of several labels."""
LABELS = 5
"""How many labels these have; the others have the right one alone."""


def label_of(neuron: int, number: int) -> Label:
    """Return a neuron's label of a number from 1 on; its last one where it has fewer."""
    labels = CONCEPTS[neuron].labels
    return labels[min(number, len(labels)) - 1]


def true_correlation(neuron: int, label: Label, sequences: Sequence[Sequence[str]]) -> float:
    """Return the correlation of a label with a neuron over all tokens of some sequences; NaN if undefined."""
    truth = np.array([CONCEPTS[neuron].activations(tokens) for tokens in sequences]).ravel()
    said = np.array([label.digits(tokens) for tokens in sequences], dtype=float).ravel()
    return float(np.corrcoef(truth, said)[0, 1]) if truth.std() and said.std() else float("nan")


def concept_texts(n_documents: int, seed: int) -> list[str]:
    """Return texts of 40 to 56 whole tokens, in which the concepts occur at their rates."""
    generator = np.random.default_rng(seed)
    shares = np.array([*_SHARES.values(), *[(1 - sum(_SHARES.values())) / len(PLAIN)] * len(PLAIN)])
    tokens = np.array([*_SHARES, *PLAIN])
    texts: list[str] = []
    for _ in range(n_documents):
        drawn = generator.choice(tokens, size=int(generator.integers(40, 57)), p=shares)
        follows = (drawn[:-1] == ONE) & (generator.random(len(drawn) - 1) < _OF_AFTER_ONE)
        drawn[1:][follows] = OF
        texts.append("".join(drawn))
    return texts

"""A subject whose neurons follow concepts that no single token shows: a GPT-2 with hand-set weights.

Its one layer holds a bigram, a position, two senses of unlike strength and a rare token; further neurons follow
one word each. The residual stream has three parts, each with +1 and -1 in two dimensions: the token's group,
the position, and, written by the one attention head, the group of the token before. So it is centred and of
equal norm everywhere, and a layer norm scales it by a known number. The head's query at a position is the key
of the one before it, so large that the softmax is exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.testing.planted import END_OF_TEXT, planted_tokenizer
from neuroscribe.testing.tokenizers import spelled

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

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
    (ONE,), (OF,), (SENSE,), (OTHER_SENSE,), (RARE,), OTHER_RARE, (COMMA,), *((word,) for word in WORDS), PLAIN,
)  # fmt: skip
"""Tokens that the model does not tell apart; bytes and the end of text form one more."""
WHOLE_TOKENS = tuple(token for group in GROUPS for token in group)
_SHARES = {
    ONE: 0.012, OF: 0.05, SENSE: 0.004, OTHER_SENSE: 0.064, RARE: 0.001, **dict.fromkeys(OTHER_RARE, 0.001),
    COMMA: 0.05, **dict.fromkeys(WORDS, 0.02),
}  # fmt: skip
"""Share of all tokens; the plain words have the rest. The rare word is in one to two of 100 sequences."""
_OF_AFTER_ONE = 0.5
"""Share of `one` that `of` follows beside those that it follows by chance."""

Value = TypeVar("Value", int, float)
Rule = Callable[[str, str, int], float]
"""The value at a token, from the token, the one before it ("" where there is none) and its place."""


class Label(NamedTuple):
    """An explanation and what it simulates, from 0 to 9."""

    text: str
    digit: Callable[[str, str, int], int]

    def digits(self, tokens: Sequence[str]) -> list[int]:
        """Return what it simulates for the tokens of a sequence."""
        return _along(tokens, self.digit)


@dataclass(frozen=True)
class Concept:
    """What a neuron follows, and explanations of it, the right one first."""

    activation: Rule
    reads: Mapping[tuple[str, ...] | int, float]
    """Contributions to what enters GELU, of the token's group (named by its tokens) or a position."""
    labels: tuple[Label, ...]
    before: Mapping[tuple[str, ...], float] = field(default_factory=dict[tuple[str, ...], float])
    """The same of the group of the token before."""
    bias: float = -10.0

    def activations(self, tokens: Sequence[str]) -> list[float]:
        """Return the activations on the tokens of a sequence."""
        return _along(tokens, self.activation)


def _along(tokens: Sequence[str], rule: Callable[[str, str, int], Value]) -> list[Value]:
    pairs = zip(tokens, ["", *tokens[:-1]], strict=True)
    return [rule(token, before, place) for place, (token, before) in enumerate(pairs)]


def _of(*tokens: str) -> Callable[[str, str, int], int]:
    """Simulate 9 on some tokens."""
    return lambda token, _before, _place: 9 * (token in tokens)


def _opposite(label: Label, text: str) -> Label:
    """Say of everything that a label says nothing of, and of nothing else."""
    return Label(text, lambda *at: 9 - label.digit(*at))


_SENSES = {SENSE: 9, OTHER_SENSE: 5}
_BIGRAM = Label(
    "the word of right after the word one", lambda token, before, _: 9 * ((before, token) == (ONE, OF))
)
_LATE = Label("all tokens of the second half", lambda _token, _before, place: 9 * (place >= HALF))
_GRADED = Label("light, and half as much paper", lambda token, _before, _place: _SENSES.get(token, 0))
_RARE = Label("the word quark", _of(RARE))

BIGRAM = Concept(
    lambda token, before, _: STRONG * ((before, token) == (ONE, OF)),
    {(OF,): 16.0},
    (
        _BIGRAM,
        Label("every word of", _of(OF)),
        Label("the word of right after the word one, at the beginning",
              lambda *at: _BIGRAM.digit(*at) * (at[2] < HALF)),
        Label("the word one", _of(ONE)),
        _opposite(_BIGRAM, "all but the word of right after the word one"),
    ),
    before={(ONE,): 16.0},
    bias=-26.0,
)  # fmt: skip
POSITION = Concept(
    lambda _token, _before, place: STRONG * (place >= HALF),
    dict.fromkeys(range(HALF, WINDOW), 16.0),
    (
        _LATE,
        Label("all tokens but the first three", lambda _token, _before, place: 9 * (place >= 3)),
        Label("the last two tokens", lambda _token, _before, place: 9 * (place >= WINDOW - 2)),
        Label("commas", _of(COMMA)),
        _opposite(_LATE, "all tokens of the first half"),
    ),
)
TWO_SENSES = Concept(
    lambda token, _before, _place: {SENSE: STRONG, OTHER_SENSE: WEAK}.get(token, 0.0),
    {(SENSE,): 16.0, (OTHER_SENSE,): 13.1},
    (
        _GRADED,
        Label("light, half as much paper, and commas",
              lambda *at: _GRADED.digit(*at) or 9 * (at[0] == COMMA)),
        Label("the word light", _of(SENSE)),
        Label("the word paper", _of(OTHER_SENSE)),
        _opposite(_GRADED, "all but light, and half as much paper"),
    ),
)  # fmt: skip
RARE_TOKEN = Concept(
    lambda token, _before, _place: STRONG * (token == RARE),
    {(RARE,): 16.0},
    (
        _RARE,
        Label("quark, quasar, quota, quiver and quiz", _of(RARE, *OTHER_RARE)),
        Label("the word quark, at the beginning", lambda *at: _RARE.digit(*at) * (at[2] < HALF)),
        Label("the word quota", _of(OTHER_RARE[1])),
        _opposite(_RARE, "all but the word quark"),
    ),
)


def _word(word: str) -> Concept:
    label = Label(f"the word{word}", _of(word))
    return Concept(lambda token, *_: STRONG * (token == word), {(word,): 16.0}, (label,))


CONCEPTS = (BIGRAM, POSITION, TWO_SENSES, RARE_TOKEN, *map(_word, WORDS))
"""By neuron."""
NAMED = {"bigram": 0, "position": 1, "two_senses": 2, "rare_token": 3}
"""Neurons of several labels."""
LABELS = 5
"""How many labels these have; the others have the right one alone."""
NOTHING = "nothing at all"


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


@torch.no_grad()
def concept_subject() -> "GPT2LMHeadModel":
    """Return the model in float32 and evaluation mode; the global random state is left alone."""
    from transformers import GPT2Config, GPT2LMHeadModel

    vocabulary = planted_tokenizer(WHOLE_TOKENS).get_vocab()
    end = vocabulary[END_OF_TEXT]
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=WINDOW, n_embd=_WIDTH, n_layer=1, n_head=1,
        n_inner=len(CONCEPTS), layer_norm_epsilon=1e-12, bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        model: Any = GPT2LMHeadModel(config).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    model.transformer.wte.weight.copy_(_token_rows(vocabulary))
    model.transformer.wpe.weight.copy_(torch.stack([_direction(place) for place in range(WINDOW)]))
    block = model.transformer.h[0]
    _look_back(block.attn)
    for neuron, concept in enumerate(CONCEPTS):
        block.mlp.c_fc.weight[:, neuron], block.mlp.c_fc.bias[neuron] = _input(concept), concept.bias
    return model


def save(folder: Path) -> None:
    """Write model and tokenizer in Hugging Face format, to be read by the Auto classes."""
    for part in (concept_subject(), planted_tokenizer(WHOLE_TOKENS)):
        part.save_pretrained(folder)  # pyright: ignore[reportUnknownMemberType]


_NAMES: tuple[tuple[str, ...] | int, ...] = (*GROUPS, (), *range(WINDOW))
"""Groups, that of all other tokens, and positions."""
_TOKEN_DIMENSIONS = 2 * (len(GROUPS) + 1)
_WIDTH = 2 * len(_NAMES) + _TOKEN_DIMENSIONS
_TWO_PARTS, _THREE_PARTS = sqrt(_WIDTH / 4), sqrt(_WIDTH / 6)
"""What a layer norm makes of a 1 where the stream holds two parts, and three."""


def _direction(name: tuple[str, ...] | int) -> Float[Tensor, " width"]:
    """Return +1 and -1 in the dimensions of a group or a position."""
    direction = torch.zeros(_WIDTH)
    place = 2 * _NAMES.index(name)
    direction[place], direction[place + 1] = 1.0, -1.0
    return direction


def _before(group: tuple[str, ...]) -> Float[Tensor, " width"]:
    """Return the direction of a group that the token before belongs to: the group's own, in the last part."""
    return _direction(group).roll(2 * len(_NAMES))


def _token_rows(vocabulary: Mapping[str, int]) -> Float[Tensor, "token width"]:
    rows = _direction(()).repeat(len(vocabulary), 1)
    for group in GROUPS:
        rows[[vocabulary[spelled(token)] for token in group]] = _direction(group)
    return rows


def _look_back(attention: Any) -> None:
    """Let the head copy the group of the token before; the first token, which has none, copies its own."""
    query, key, value = attention.c_attn.weight.split(_WIDTH, dim=1)
    for place in range(WINDOW):
        key[:, place] = 10 * _direction(place)
        query[:, place - 1] += 10 * _direction(place) * (place > 0)
    tokens = torch.arange(_TOKEN_DIMENSIONS)
    value[tokens, tokens + 2 * len(_NAMES)] = 1 / _TWO_PARTS
    attention.c_proj.weight.copy_(torch.eye(_WIDTH))


def _input(concept: Concept) -> Float[Tensor, " width"]:
    """Return a neuron's input weights: a direction's product with the normed stream is 2 x the norm's scale."""
    own = [part * _direction(name) for name, part in concept.reads.items()]
    earlier = [part * _before(group) for group, part in concept.before.items()]
    return sum([*own, *earlier], torch.zeros(_WIDTH)) / (2 * _THREE_PARTS)

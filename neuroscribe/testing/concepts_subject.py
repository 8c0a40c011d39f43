"""The subject of planted concepts: a GPT-2 of one layer with hand-set weights, and its tokenizer.

The residual stream has three parts, each with +1 and -1 in two dimensions: the token's group, the position,
and, written by the one attention head, the group of the token before. So it is centred and of equal norm
everywhere, and a layer norm scales it by a known number. The head's query at a position is the key of the
position before it, so large that the softmax is exact.
"""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.testing.planted import END_OF_TEXT, planted_tokenizer
from neuroscribe.testing.planted_concepts import CONCEPTS, GROUPS, WHOLE_TOKENS, WINDOW, Concept
from neuroscribe.testing.tokenizers import spelled

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


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
    """Return a neuron's input weights; a direction times the normed stream is twice the norm's scale."""
    own = [part * _direction(name) for name, part in concept.reads.items()]
    earlier = [part * _before(group) for group, part in concept.before.items()]
    return torch.stack([*own, *earlier]).sum(dim=0) / (2 * _THREE_PARTS)

"""A subject whose neurons are known: a tiny GPT-2 with hand-set weights, its tokenizer, texts and a script.

Attention and positions contribute nothing, so an activation is a function of the token alone. Every token's
embedding is +1 and -1 in the two dimensions of its group, so all are centred and of equal norm, and a layer
norm over 32 dimensions makes them +4 and -4. A neuron reads a group with weights +2 and -2 and bias -10: GELU
then gives 6.0 on the group's tokens (to within 1e-5) and 0.0 on all others. Layer 0 writes only along the
group it reads, which the next norm takes out again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.testing.asked import last_asked
from neuroscribe.testing.planted_answers import simulation_answer
from neuroscribe.testing.tokenizers import spelled
from neuroscribe.text.escaping import escaped, unforged

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

LAYERS, NEURONS, WIDTH, CONTEXT = 2, 16, 32, 128
STRONG, WEAK = 6.0, 0.841192
"""Activations of neurons on their tokens: GELU of 6 and, for the weak ones, of 1."""
END_OF_TEXT = "<|endoftext|>"

COLOURS, NUMBERS, ANIMALS, FRUIT = "words for colours", "numbers", "words for animals", "words for fruit"
WEATHER, TOOLS, DAYS, BODY = "words for weather", "words for tools", "days of the week", "parts of the body"
CITIES, MUSIC, MOTION = "names of cities", "musical instruments", "verbs of motion"
PLAIN, BREAKS = "ordinary words without a topic", "line breaks and tabs"
MARKUP, STOPS = "markup and invisible characters", "full stops and commas"
EVERY_TOKEN, NOTHING = "every token", "nothing at all"
BEFORE, PROMOTES, LONG = "just before ", ", and promotes ", "The neuron's tokens are "
"""How the script says what comes next, what is promoted, and the same at length."""

_WORDS = {
    COLOURS: "red blue green yellow purple orange",
    NUMBERS: "one two three four five six",
    ANIMALS: "cat dog horse rabbit fox bear",
    FRUIT: "apple pear cherry plum grape lemon",
    WEATHER: "rain snow wind fog storm sunshine",
    TOOLS: "hammer saw drill pliers wrench chisel",
    DAYS: "Monday Tuesday Wednesday Thursday Friday Saturday",
    BODY: "hand foot knee elbow shoulder ear",
    CITIES: "London Paris Tokyo Cairo Lima Oslo",
    MUSIC: "piano violin flute drum harp trumpet",
    MOTION: "run walk jump swim climb crawl",
    PLAIN: "the a of and in on was is they we said with that it",
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    **{
        name: tuple(space + word for word in words.split() for space in (" ", ""))
        for name, words in _WORDS.items()
    },
    BREAKS: ("\n", "\t"),
    MARKUP: ("<script>", "\x07", "\u200f"),
    STOPS: (".", ","),
}
"""Tokens by what they have in common; words come with and without a space before them."""
WHOLE_TOKENS = tuple(token for tokens in GROUPS.values() for token in tokens)
"""Tokens of some group; the others are the remaining single bytes and the end of text."""


class _Role(NamedTuple):
    """What a neuron reads (groups), how strongly, and what it writes (a group)."""

    reads: tuple[str, ...]
    strength: float = STRONG
    writes: str | None = None


_CONSTANT, _DEAD = _Role((EVERY_TOKEN,)), _Role(())
_ROLES = (
    (
        *(_Role((group,), writes=group) for group in (COLOURS, NUMBERS, ANIMALS, BREAKS, MARKUP)),
        _CONSTANT,
        _DEAD,
        _Role((COLOURS,), WEAK),
        _Role((COLOURS, NUMBERS)),
        *(_Role((group,), writes=group) for group in (FRUIT, WEATHER, STOPS)),
        _Role((NUMBERS,), WEAK),
        _Role((ANIMALS, FRUIT)),
        _Role((PLAIN,), WEAK),
        _Role((CITIES,)),
    ),
    (
        _Role((TOOLS,), writes=BODY),
        _Role((DAYS,), writes=WEATHER),
        _Role((BODY,), writes=MOTION),
        _Role((CITIES,), writes=MUSIC),
        _Role((MUSIC,), writes=CITIES),
        _CONSTANT,
        _DEAD,
        _Role((DAYS,), WEAK),
        *(_Role((group,)) for group in (MOTION, COLOURS, NUMBERS, BREAKS, PLAIN)),
        _Role((WEATHER, DAYS)),
        *(_Role((group,)) for group in (MARKUP, STOPS)),
    ),
)
CONSTANT, DEAD = ((0, 5), (1, 5)), ((0, 6), (1, 6))
"""Neurons (layer, neuron) that are 6.0 everywhere, and 0.0 everywhere."""


class Planted(NamedTuple):
    """The truth about one neuron."""

    explanation: str
    tokens: frozenset[str]
    """Tokens on which it fires; for the constant neurons all whole tokens (they fire on bytes as well)."""


def _truth(role: _Role) -> Planted:
    if role is _CONSTANT:
        return Planted(EVERY_TOKEN, frozenset(WHOLE_TOKENS))
    tokens = frozenset(token for group in role.reads for token in GROUPS[group])
    return Planted(" or ".join(role.reads) or NOTHING, tokens)


PLANTED: Mapping[tuple[int, int], Planted] = {
    (layer, neuron): _truth(role) for layer, roles in enumerate(_ROLES) for neuron, role in enumerate(roles)
}
"""What every neuron fires on, by (layer, neuron)."""
_SHOWN: Mapping[str, frozenset[str]] = {
    explanation: tokens
    | {escaped(token.encode()) for token in tokens}
    | {unforged(escaped(token.encode())) for token in tokens}
    for explanation, tokens in PLANTED.values()
}
"""Tokens by explanation, as they are and as prompts show them."""


def planted_activation(layer: int, neuron: int, token: str) -> float:
    """Return the activation of a neuron on a whole token."""
    return _ROLES[layer][neuron].strength * (token in PLANTED[layer, neuron].tokens)


@torch.no_grad()
def planted_subject() -> "GPT2LMHeadModel":
    """Return the model in float32 and evaluation mode; the global random state is left alone."""
    from transformers import GPT2Config, GPT2LMHeadModel

    vocabulary = planted_tokenizer().get_vocab()
    end = vocabulary[END_OF_TEXT]
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=2,
        n_inner=NEURONS, layer_norm_epsilon=1e-12, bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        model: Any = GPT2LMHeadModel(config).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    model.transformer.wte.weight.copy_(_embedding(vocabulary))
    for layer, roles in enumerate(_ROLES):
        mlp = model.transformer.h[layer].mlp
        for neuron, role in enumerate(roles):
            mlp.c_fc.weight[:, neuron], mlp.c_fc.bias[neuron] = _input(role)
            if role.writes is not None:
                mlp.c_proj.weight[neuron] = 0.5 * _direction(role.writes)
    return model


def planted_tokenizer(whole_tokens: Sequence[str] = WHOLE_TOKENS) -> "PreTrainedTokenizerFast":
    """Return a byte-level tokenizer with whole words in its vocabulary; it gives every text back exactly."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    entries = [*sorted(byte_level.alphabet()), *(spelled(token) for token in whole_tokens)]
    vocabulary = {entry: index for index, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    words = Regex(r"<script>| ?\p{L}+| ?\p{N}+|[^\p{L}\p{N}]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, behavior="isolated"), byte_level]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def save(folder: Path) -> None:
    """Write model and tokenizer in Hugging Face format, to be read by the Auto classes."""
    for part in (planted_subject(), planted_tokenizer()):
        part.save_pretrained(folder)  # pyright: ignore[reportUnknownMemberType]


def planted_corpus(n_documents: int, seed: int) -> list[str]:
    """Return texts of 90 or more whole tokens; each sentence has two topics, so no group is everywhere."""
    generator = np.random.default_rng(seed)
    return [_document(generator) for _ in range(n_documents)]


@dataclass(frozen=True)
class PlantedScript:
    """What an ideal explainer and simulator of the planted subject says; a wrong one names another group."""

    wrong: bool = False

    def reply(self, prompt_text: str) -> str:
        """Answer a simulation prompt, or explain the last neuron by the truth that fits most tokens."""
        if (answer := simulation_answer(prompt_text, self.digits)) is not None:
            return answer
        asked = last_asked(prompt_text)
        best = _agreeing(asked.pairs) if asked.pairs else _covering(asked.firing)
        said = _another(best) if self.wrong else best
        if asked.promoted:
            said += PROMOTES + _covering(asked.promoted)
        return json.dumps({"short": said, "long": f"{LONG}{said}."}) if asked.as_json else said

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        """Return 9 for tokens on which a neuron so explained fires, 0 for others and unknown explanations.

        What it promotes is no matter; "just before" asks for the token that follows.
        """
        said = explanation.strip().rstrip(".").partition(PROMOTES)[0]
        known = said.removeprefix(BEFORE)
        ahead = tokens if known == said else [*tokens[1:], ""]
        return [9 * (known in _SHOWN and bool(token) and _fires(known, token)) for token in ahead]


def _agreeing(pairs: Sequence[tuple[str, int]]) -> str:
    """Return the truth that says of most tokens whether the neuron fires on them."""
    return max(
        _SHOWN,
        key=lambda explanation: sum((value > 0) == _fires(explanation, token) for token, value in pairs),
    )


def _covering(tokens: Sequence[str]) -> str:
    """Return the truth that most of the tokens fit; of several the narrowest."""
    return max(
        _SHOWN,
        key=lambda explanation: (
            sum(_fires(explanation, token) for token in tokens),
            -len(_SHOWN[explanation]),
        ),
    )


def _another(explanation: str) -> str:
    """Return the next group that shares no token with an explanation."""
    groups = list(GROUPS)
    start = groups.index(explanation) + 1 if explanation in groups else 0
    ring = groups[start:] + groups[:start]
    return next((group for group in ring if _SHOWN[explanation].isdisjoint(GROUPS[group])), ring[0])


def _embedding(vocabulary: Mapping[str, int]) -> Float[Tensor, "token width"]:
    rows = _direction("").repeat(len(vocabulary), 1)
    for group, tokens in GROUPS.items():
        rows[[vocabulary[spelled(token)] for token in tokens]] = _direction(group)
    return rows


def _direction(group: str) -> Float[Tensor, " width"]:
    """Return +1 and -1 in the dimensions of a group; tokens of no group share the last two dimensions."""
    names = [*GROUPS, ""]
    direction = torch.zeros(WIDTH)
    direction[2 * names.index(group)], direction[2 * names.index(group) + 1] = 1.0, -1.0
    return direction


def _input(role: _Role) -> tuple[Float[Tensor, " width"], float]:
    """Return a neuron's input weights and bias."""
    if role is _CONSTANT:
        return torch.zeros(WIDTH), STRONG
    before_gelu = STRONG if role.strength == STRONG else 1.0
    weight = (before_gelu + 10) / 8  # the norm gives +4 and -4
    return weight * sum((_direction(group) for group in role.reads), torch.zeros(WIDTH)), -10.0


def _document(generator: np.random.Generator) -> str:
    topics = [group for group in GROUPS if group not in (PLAIN, STOPS)]
    text = ""
    for _ in range(int(generator.integers(10, 14))):
        first, second = generator.choice(topics, size=2, replace=False)
        shape = (PLAIN, PLAIN, first, PLAIN, first, PLAIN, PLAIN, second, PLAIN)
        text += "".join(str(generator.choice(_spaced(group))) for group in shape)
        text += str(generator.choice([".", ",", "", "\n"], p=[0.3, 0.2, 0.3, 0.2]))
    return text.lstrip(" ")


def _spaced(group: str) -> list[str]:
    """Return a group's tokens as they stand inside a text: words with a space before them."""
    return [token for token in GROUPS[group] if token.startswith(" ") or group not in _WORDS]


def _fires(explanation: str, token: str) -> bool:
    """Tell whether a neuron so explained fires on a token, given as it is or escaped as in prompts."""
    return explanation == EVERY_TOKEN or token in _SHOWN[explanation]

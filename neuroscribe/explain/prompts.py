"""The explanation prompt: worked neurons, then the excerpts of one neuron as token and activation.

Method of Bills et al. 2023: activations are discretised to 0..10 by the neuron's own all-time maximum, and
when few tokens fire they are listed once more by themselves. Wording and examples are data: `few_shot.toml`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neuroscribe.escaping import escaped
from neuroscribe.ports import Message

SPARSE = 0.2
"""Share of firing tokens below which they are listed once more (paper)."""
Pair = tuple[str, int]


@dataclass(frozen=True)
class ExplanationPrompt:
    """Wording and worked neurons; the version enters fingerprints."""

    version: int
    wording: Mapping[str, str]
    examples: tuple[tuple[str, tuple[tuple[Pair, ...], ...]], ...]

    def messages(self, excerpts: Sequence[Sequence[Pair]]) -> list[Message]:
        """Return the whole prompt for a neuron; the last message is the beginning of the answer."""
        turns = [Message("system", self.wording["instruction"].strip())]
        for number, (explanation, shown) in enumerate(self.examples, start=1):
            turns.append(Message("user", self._question(number, shown)))
            turns.append(Message("assistant", f"{self.stub} {explanation}"))
        turns.append(Message("user", self._question(len(self.examples) + 1, excerpts)))
        return [*turns, Message("assistant", self.stub)]

    @property
    def stub(self) -> str:
        """The words every answer begins with."""
        return self.wording["stub"]

    def _question(self, number: int, excerpts: Sequence[Sequence[Pair]]) -> str:
        blocks = [self.wording["question"].format(number=number)]
        for place, pairs in enumerate(excerpts, start=1):
            blocks.append(self.wording["excerpt"].format(number=place, pairs=_listed(pairs)))
        every = [pair for pairs in excerpts for pair in pairs]
        firing = [pair for pair in every if pair[1] > 0]
        if firing and len(firing) < SPARSE * len(every):
            blocks.append(self.wording["firing"].format(pairs=_listed(firing)))
        return "\n".join(blocks)


@cache
def explanation_prompt() -> ExplanationPrompt:
    """Return the prompt as written in the data file."""
    data: dict[str, Any] = tomllib.loads(
        files("neuroscribe.explain").joinpath("few_shot.toml").read_text(encoding="utf-8")
    )
    examples = tuple(
        (
            str(example["explanation"]),
            tuple(tuple((str(token), int(value)) for token, value in pairs) for pairs in example["excerpts"]),
        )
        for example in data["example"]
    )
    wording = {key: str(data[key]) for key in ("instruction", "question", "excerpt", "firing", "stub")}
    return ExplanationPrompt(int(data["version"]), wording, examples)


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


def _listed(pairs: Sequence[Pair]) -> str:
    return "\n".join(f"{token}\t{value}" for token, value in pairs)

"""What a group of neurons does: strengths, changes of tokens and continuations, measured in a few passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor

from neuroscribe.effect.amplifier import Amplifier, Held, Openings, Predictions, divergence
from neuroscribe.effect.strength import strengths
from neuroscribe.study.amplifying import AmplifyingSpec

Changed = list[tuple[int, float]]
"""Tokens, and by how much their log-probability changes on average."""


@dataclass(frozen=True)
class Effect:
    """What one side of a neuron does."""

    amplified: float
    """The activation at which it was held."""
    divergence: float
    promoted: Changed
    suppressed: Changed
    continuations: list[list[int]]
    """By opening."""


@dataclass(frozen=True)
class Measuring:
    """How the neurons of one layer are measured; all that does not depend on a neuron is done once."""

    amplifier: Amplifier
    spec: AmplifyingSpec
    read: Openings
    """Openings on which strengths and changes of tokens are measured."""
    continued: Openings
    """Others, which the subject goes on from."""
    plain: Predictions
    """Of the subject left alone, on the openings that are read."""

    @classmethod
    def of(
        cls, amplifier: Amplifier, spec: AmplifyingSpec, read: Openings, continued: Openings
    ) -> "Measuring":
        """Return it for these openings; raises SubjectError for a model without logits."""
        return cls(amplifier, spec, read, continued, next(amplifier.predictions(read, [None])))

    def said(self, held: Sequence[Held | None]) -> list[list[list[int]]]:
        """Return what the subject says with each of these held, or left alone, by opening."""
        spec = self.spec
        said = self.amplifier.continuations(
            self.continued, held, tokens=spec.tokens, temperature=spec.temperature, seed=spec.seed
        )
        return cast(list[list[list[int]]], said.numpy().tolist())

    def effects(self, largest: Sequence[Held]) -> list[Effect]:
        """Return the effects of some neurons, given with their largest activations."""
        held = strengths(self.amplifier, self.read, self.plain, largest, self.spec)
        said = self.said(held)
        changed = self.amplifier.predictions(self.read, held)
        return [self._effect(*each) for each in zip(held, changed, said, strict=True)]

    def _effect(self, held: Held, changed: Predictions, said: list[list[int]]) -> Effect:
        mean = (changed - self.plain).mean((0, 1))
        up, down = (_most(sign * mean, self.amplifier, self.spec.listed) for sign in (1, -1))
        return Effect(
            held.activation,
            divergence(self.plain, changed),
            up,
            [(token, -size) for token, size in down],
            said,
        )


def _most(change: Float[Tensor, " vocabulary"], amplifier: Amplifier, count: int) -> Changed:
    """Return the tokens with the largest positive change, best first, equal ones by token id."""
    says = amplifier.says
    sizes = change[: len(says)].masked_fill(~says, 0.0).clamp(min=0).nan_to_num()
    best, ids = (part[:count].cpu().numpy() for part in sizes.sort(descending=True, stable=True))
    return [(int(token), float(size)) for token, size in zip(ids, best, strict=True) if size > 0]

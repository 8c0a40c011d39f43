"""Runs the subject with neurons of one layer held at large activations, another one in each block of rows.

A neuron is held at all tokens of an opening and of what the subject says after it; prefix tokens are fed as
in capture and left alone. Continuations are drawn with noise that is the same for every neuron, so that two
differ by what the neurons do, and not by luck.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.subject.predictions import logits_of, output_of, rows_at_once
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

_LACKING = (
    "nobody can say what its neurons do to the next token; take the explainers and scorers of the output half"
    " out of the study"
)
_TOLERANCE = 0.05
"""Of the largest logit: by so much two ways of computing the same may differ in 16 bits."""


@dataclass(frozen=True)
class Held:
    """A neuron and the activation, with its sign, at which it is held."""

    neuron: int
    activation: float


Openings = Int[Tensor, "opening token"]
Predictions = Float[Tensor, "opening token vocabulary"]
"""Log-probabilities of the next token."""


@dataclass(frozen=True)
class Amplifier:
    """The subject, and where the neurons of one layer are held."""

    subject: Subject
    site: Site

    @cached_property
    def says(self) -> Bool[Tensor, " vocabulary"]:
        """Which tokens the subject may say: those with text, and none of control."""
        facts = self.subject.tokenizer
        return torch.tensor(
            [
                bool(token) and number not in facts.special_ids
                for number, token in enumerate(facts.token_bytes)
            ],
            dtype=torch.bool,
            device=self.subject.device,
        )

    def predictions(self, openings: Openings, held: Sequence[Held | None]) -> Iterator[Predictions]:
        """Yield for each neuron, or for none, what the subject expects after every token of the openings.

        Raises SubjectError for a model without logits.
        """
        at_once = max(1, rows_at_once(self.subject, openings.shape[1]) // len(openings))
        for start in range(0, len(held), at_once):
            part = held[start : start + at_once]
            with self._holding(part, len(openings)):
                logits = logits_of(self.subject, self._rows(openings, len(part)), lacking=_LACKING)
            for place in range(len(part)):
                yield logits[place * len(openings) : (place + 1) * len(openings)].float().log_softmax(-1)

    def continuations(
        self, openings: Openings, held: Sequence[Held | None], *, tokens: int, temperature: float, seed: int
    ) -> Int[Tensor, "neuron opening _token"]:
        """Return for each neuron, or for none, the tokens that the subject says after each opening.

        At temperature 0 always the likeliest one. Raises SubjectError for a model without logits.
        """
        generator = torch.Generator().manual_seed(seed)
        said = self._rows(openings, len(held))
        start, caches = said.shape[1], self._caches
        past: Mapping[str, Any] = {}
        with self._holding(held, len(openings)):
            for _ in range(tokens):
                fed = said[:, -1:] if past else said
                output = output_of(self.subject, fed, lacking=_LACKING, use_cache=caches, **past)
                past = _past(output) if caches else {}
                logits = self._noisy(output.logits[:, -1].float(), len(openings), temperature, generator)
                said = torch.cat([said, logits.argmax(-1, keepdim=True)], 1)
        return said[:, start:].reshape(len(held), len(openings), tokens).cpu()

    def _noisy(
        self,
        logits: Float[Tensor, "row vocabulary"],
        openings: int,
        temperature: float,
        noise: torch.Generator,
    ) -> Float[Tensor, "row _vocabulary"]:
        """Return logits of which the largest is a draw from the distribution (the Gumbel-max trick).

        The noise is drawn on the CPU, for devices draw each in its own way.
        """
        allowed = logits[:, : len(self.says)].masked_fill(~self.says, -torch.inf)
        if not temperature:
            return allowed
        uniform = torch.rand(openings, allowed.shape[1], generator=noise).clamp(1e-9, 1 - 1e-7)
        gumbel = -(-uniform.log()).log()
        return allowed / temperature + gumbel.repeat(len(logits) // openings, 1).to(allowed)

    def _rows(self, openings: Openings, neurons: int) -> Int[Tensor, "row position"]:
        prefix = torch.tensor(self.subject.prefix_ids, dtype=torch.int64).expand(len(openings), -1)
        return torch.cat([prefix, openings], 1).repeat(neurons, 1).to(self.subject.device)

    @contextmanager
    def _holding(self, held: Sequence[Held | None], rows: int) -> Generator[None]:
        """While open, hold each neuron in its block of `rows` rows."""
        prefix = len(self.subject.prefix_ids)

        def change(read: Float[Tensor, "*position neuron"]) -> Float[Tensor, "*position neuron"]:
            changed = read.reshape(len(held) * rows, -1, read.shape[-1]).clone()
            # A single position is one that goes on from what is cached.
            skipped = prefix if changed.shape[1] > 1 else 0
            for place, each in enumerate(held):
                if each is not None:
                    changed[place * rows : (place + 1) * rows, skipped:, each.neuron] = each.activation
            return changed.reshape(read.shape)

        handle = self.site.replaced(change)
        try:
            yield
        finally:
            handle.remove()

    @cached_property
    def _caches(self) -> bool:
        """Whether the model goes on from what it has read as if it had read all of it again: tried once."""
        ids = torch.tensor([[*self.subject.prefix_ids, *range(3)]])
        whole = output_of(self.subject, ids, lacking=_LACKING, use_cache=True)
        if not _past(whole):
            return False
        read = output_of(self.subject, ids[:, :-1], lacking=_LACKING, use_cache=True)
        last = output_of(self.subject, ids[:, -1:], lacking=_LACKING, use_cache=True, **_past(read))
        one, other = (output.logits[0, -1].float() for output in (whole, last))
        return bool((one - other).abs().max() <= _TOLERANCE * one.abs().max())


def _past(output: Any) -> Mapping[str, Any]:
    """Return what a model wants to be given to go on; empty for one that keeps nothing so named."""
    past = getattr(output, "past_key_values", None)
    return {} if past is None else {"past_key_values": past}


def divergence(plain: Predictions, other: Predictions) -> float:
    """Return the mean Kullback-Leibler divergence, in nats, of `other` from the plain predictions."""
    gained = plain.exp() * (plain - other)
    return float(gained.nan_to_num().sum(-1).mean())

"""Runs the subject with a neuron replaced, and measures how far its predictions move.

Bills et al. 2023, ablation scoring: the Jensen-Shannon divergence of the output distribution from the clean
run's, in nats (0 to ln 2), at every token and averaged over a sequence's tokens. Prefix tokens are fed as in
capture, and neither replaced nor counted. Where both signs of a neuron are explained apart, the side that is
not explained stays as it is.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.subject.predictions import logits_of, rows_at_once
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

_LACKING = "an ablation has nothing to compare; take the ablation scorer out of the study"


@dataclass(frozen=True)
class Replacement:
    """What one neuron is replaced by in one run over a sequence."""

    neuron: int
    polarity: int
    values: tuple[float, ...]
    """Activation on the explained side, polarity x value, at each token."""


def divergences(
    subject: Subject,
    site: Site,
    tokens: Sequence[int],
    replacements: Sequence[Replacement],
    *,
    keeps_other_side: bool,
) -> list[float]:
    """Return the mean divergence per token that each replacement causes in one sequence.

    Every forward pass holds the clean sequence beside the replaced ones, so that rounding, which depends on
    the shape of a batch, is the same for both. Raises SubjectError for a model without logits.
    """
    measured: list[float] = []
    # One row is the clean one.
    size = max(1, rows_at_once(subject, len(tokens)) - 1)
    for start in range(0, len(replacements), size):
        rows = replacements[start : start + size]
        ids = torch.tensor([[*subject.prefix_ids, *tokens]]).expand(len(rows) + 1, -1)
        with _replacing(subject, site, rows, keeps_other_side=keeps_other_side):
            logits = logits_of(subject, ids, lacking=_LACKING)
        clean = logits[0].double().log_softmax(-1)
        for row in logits[1:]:
            other = row.double().log_softmax(-1)
            measured.append(float(jensen_shannon(clean, other).mean()))
    return measured


def jensen_shannon(
    one: Float[Tensor, "token vocabulary"], other: Float[Tensor, "token vocabulary"]
) -> Float[Tensor, " token"]:
    """Return the Jensen-Shannon divergence in nats of distributions given as log-probabilities."""
    middle = torch.logaddexp(one, other) - torch.log(torch.tensor(2.0, dtype=one.dtype, device=one.device))
    parts = [(each.exp() * (each - middle).nan_to_num()).sum(-1) for each in (one, other)]
    return ((parts[0] + parts[1]) / 2).clamp(min=0)


@contextmanager
def _replacing(
    subject: Subject, site: Site, replacements: Sequence[Replacement], *, keeps_other_side: bool
) -> Generator[None]:
    """While open, write one neuron's values into each row of a batch but the first."""
    skipped = len(subject.prefix_ids)

    def replace(read: Float[Tensor, "*position neuron"]) -> Float[Tensor, "*position neuron"]:
        changed = read.reshape(len(replacements) + 1, -1, read.shape[-1]).clone()
        for row, replacement in enumerate(replacements, start=1):
            channel, polarity = changed[row, skipped:, replacement.neuron], replacement.polarity
            values = torch.tensor(replacement.values, dtype=torch.float64).to(channel)
            other = (polarity * channel).clamp(max=0) if keeps_other_side else torch.zeros_like(channel)
            changed[row, skipped:, replacement.neuron] = polarity * (values + other)
        return changed.reshape(read.shape)

    handle = site.replaced(replace)
    try:
        yield
    finally:
        handle.remove()

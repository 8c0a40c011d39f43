"""Runs the subject on sentences as on the corpus, and tells how strongly neurons fire in each."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.fit import lack_of_memory_explained
from neuroscribe.errors import CaptureError
from neuroscribe.evidence.exemplars import Neuron, explained_side
from neuroscribe.ports.stores import Progress
from neuroscribe.subject.batch import read_batch
from neuroscribe.subject.subject import Subject

Encoded = Mapping[str, Sequence[int]]
"""Token ids by text."""


def encoded(subject: Subject, texts: Sequence[str], length: int) -> Encoded:
    """Return the tokens of each text, at most `length`; text that looks like a special token stays text."""
    return {text: subject.tokenizer.encode(text)[:length] for text in texts}


def peaks(
    subject: Subject,
    layer: int,
    texts: Encoded,
    neurons: Sequence[Neuron],
    *,
    polarities: tuple[int, ...],
    progress: Progress,
) -> dict[str, Float[np.ndarray, " neuron"]]:
    """Return each neuron's largest activation on its side in each text that has a token.

    Each text is read after the subject's prefix, several in a batch, the shorter ones filled up behind: what
    stands there changes nothing before it in a model that reads forward. Raises CaptureError for NaN and inf.
    """
    order = sorted((text for text, tokens in texts.items() if tokens), key=lambda text: len(texts[text]))
    found: dict[str, Float[np.ndarray, " neuron"]] = {}
    with (
        lack_of_memory_explained(subject),
        progress.task(
            f"sentences {subject.name} layer {layer}", total=len(order), unit="sentences"
        ) as advance,
    ):
        while len(found) < len(order):
            batch = _next(subject, order[len(found) :], texts)
            values = _activations(subject, layer, [texts[text] for text in batch], neurons)
            for text, read in zip(batch, values, strict=True):
                found[text] = _peaks(read, len(texts[text]), neurons, polarities)
            advance(len(batch))
    return found


def _next(subject: Subject, waiting: Sequence[str], texts: Encoded) -> Sequence[str]:
    """Return as many of the waiting texts, the shortest first, as go into one forward pass."""
    count = 1
    while count < len(waiting) and count < subject.batch(len(texts[waiting[count]])):
        count += 1
    return waiting[:count]


def _activations(
    subject: Subject, layer: int, rows: Sequence[Sequence[int]], neurons: Sequence[Neuron]
) -> Float[Tensor, "text token neuron"]:
    """Return the activations of some neurons on texts of one batch, filled up to the longest."""
    kept: list[Tensor] = []
    skipped, numbers = len(subject.prefix_ids), [neuron for neuron, _ in neurons]

    def keep(_: int, read: Float[Tensor, "text position neuron"]) -> None:
        kept.append(read[:, skipped:, numbers].float().cpu())

    read_batch(subject, _filled_up(rows), subject.sites([layer]), keep)
    return kept[0]


def _filled_up(rows: Sequence[Sequence[int]]) -> Int[Tensor, "text token"]:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows], dtype=torch.int64)


def _peaks(
    read: Float[Tensor, "token neuron"], length: int, neurons: Sequence[Neuron], polarities: tuple[int, ...]
) -> Float[np.ndarray, " neuron"]:
    values = read[:length].numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise CaptureError(
            "a neuron's activation on a written sentence is NaN or infinite; load the subject in another"
            " dtype (subject.dtype)"
        )
    sides = [
        explained_side(values[:, place], polarity, polarities) for place, (_, polarity) in enumerate(neurons)
    ]
    return np.array([side.max() for side in sides])

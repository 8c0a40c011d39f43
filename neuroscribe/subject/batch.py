"""One forward pass over a batch of sequences, in which each selected layer is read exactly once."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.errors import CaptureError
from neuroscribe.subject.hooks import compiled_forward, forward, reading
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

Take = Callable[[int, Float[Tensor, "sequence position neuron"]], None]


def read_batch(
    subject: Subject, tokens: Int[Tensor, "sequence token"], sites: Mapping[int, Site], take: Take
) -> None:
    """Run one batch up to the last of the sites and hand each layer's activations to `take`.

    They begin with those of the prefix, at `len(subject.prefix_ids)` positions. Raises CaptureError for a
    layer that is not read once.
    """
    calls = dict.fromkeys(sites, 0)

    def read(layer: int, activations: Float[Tensor, "..."]) -> None:
        calls[layer] += 1
        laid_out = activations.dim() == 3 and len(activations) == len(tokens)
        take(
            layer,
            activations if laid_out else activations.reshape(len(tokens), -1, activations.shape[-1]),
        )

    graph = subject.compiled
    # Each shape is compiled anew, so the smaller batches at the ends of blocks run as the model is.
    if sites and graph and len(tokens) == subject.batch(tokens.shape[1]):
        compiled_forward(graph, with_prefix(subject, tokens), sites, read)
    elif sites:
        with reading(sites, read, stop=True):
            forward(subject.model, with_prefix(subject, tokens))
    if wrong := [layer for layer, count in calls.items() if count != 1]:
        raise CaptureError(
            f"layer {wrong[0]} was read {calls[wrong[0]]} times in one batch, expected once; its layer is"
            " shared, re-entrant or skipped, which is not supported"
        )


def with_prefix(subject: Subject, tokens: Int[Tensor, "sequence token"]) -> Int[Tensor, "sequence position"]:
    """Return the tokens after the subject's prefix, on its device."""
    prefix = torch.tensor(subject.prefix_ids, dtype=torch.int64).expand(len(tokens), -1)
    return torch.cat([prefix, tokens], 1).to(subject.device)

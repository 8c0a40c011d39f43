"""What the subject predicts: its logits, and where in it values are put in the place of a neuron's."""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.errors import SubjectError
from neuroscribe.study.spec import SubjectSpec
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

LOGIT_BYTES = 256 * 2**20
"""Memory for the logits of one forward pass."""


def place_of(site: Site, spec: SubjectSpec) -> str:
    """Name a site among those of all kinds of units; of MLP neurons as results stored earlier name it."""
    return f"{spec.units} at {site.path}" if spec.has_other_units else site.path


def weights_of(subject: Subject) -> list[Any]:
    """Return what names the subject's weights, and how they are run, in the keys of stored results."""
    return [
        subject.name,
        subject.revision,
        str(subject.dtype),
        subject.device.type,
        list(subject.prefix_ids),
    ]


def output_of(subject: Subject, ids: Int[Tensor, "row position"], *, lacking: str, **how: Any) -> Any:
    """Run the model on some rows of tokens, and return its output; `how` goes to it as it is.

    Raises SubjectError for a model without logits; `lacking` says what cannot be done then, and the remedy.
    """
    with torch.inference_mode():
        output = subject.model(input_ids=ids.to(subject.device), **how)
    if getattr(output, "logits", None) is None:
        raise SubjectError(
            f"{subject.name} gives no logits, so {lacking}, or load the model with its language-model head"
        )
    return output


def logits_of(
    subject: Subject, ids: Int[Tensor, "row position"], *, lacking: str
) -> Float[Tensor, "row token vocabulary"]:
    """Return the logits at all positions behind the prefix; errors as of `output_of`."""
    output = output_of(subject, ids, lacking=lacking, use_cache=False)
    counted = cast(Tensor, output.logits)[:, len(subject.prefix_ids) :]
    return counted.cpu() if subject.device.type == "mps" else counted  # no 64-bit numbers there


def rows_at_once(subject: Subject, length: int) -> int:
    """Return how many rows of so many tokens fit into one forward pass by their logits, at least one."""
    embedding = subject.model.get_input_embeddings()
    vocabulary = int(getattr(embedding, "num_embeddings", embedding.weight.shape[0]))
    row = (length + len(subject.prefix_ids)) * vocabulary * subject.dtype.itemsize
    return max(1, LOGIT_BYTES // row)

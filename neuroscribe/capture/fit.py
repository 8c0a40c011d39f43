"""Checks, before the pass, that study, tokenizer and model are made for each other."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.errors import CaptureError, StudyError, SubjectError
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.text.token_bytes import display


def check_size(study: Study, subject: Subject) -> None:
    """Check that the subject has the layers and neurons that the study states.

    Raises StudyError naming both numbers and the key to correct. Layers count up to the last one with
    neurons.
    """
    sites = subject.sites()
    stated, layers = study.subject, max(sites) + 1
    if stated.layers != layers:
        raise StudyError(
            f"study {study.name}: subject.layers = {stated.layers}, but {stated.model} has {layers} layers"
            f" with a {subject.units.carrier}; set subject.layers = {layers}"
        )
    for layer, site in sites.items():
        if site.neurons != stated.neurons_per_layer:
            raise StudyError(
                f"study {study.name}: subject.neurons_per_layer = {stated.neurons_per_layer}, but layer"
                f" {layer} of {stated.model} has {site.neurons} neurons; set subject.neurons_per_layer"
                f" = {site.neurons}"
            )


def automatic_batch_tokens(
    model: torch.nn.Module, device: torch.device, units: UnitKind = MLP_NEURONS
) -> int:
    """Return the tokens per forward pass that suit a device; the same for every machine of its type.

    On a CPU the widest layer's activations of a batch should stay in the shared cache, where the next step
    reads them: throughput was seen to fall beyond 4 to 8 MB. A GPU wants enough tokens to
    hide its launches; a batch too large for its memory is halved during the pass.
    """
    if device.type == "cuda":
        return 16384
    neurons = max(site.neurons for site in units.sites(model).values())
    itemsize = next(model.parameters()).dtype.itemsize
    return max(64, _NEAR_BYTES // (neurons * itemsize))


_NEAR_BYTES = 6 * 2**20


def check_tokens(subject: Subject, tokens: Int[Tensor, "sequence token"]) -> None:
    """Check that the model can read the corpus.

    Raises SubjectError when its embedding lacks a token of the corpus or of the prefix, and StudyError when a
    sequence is longer than it has positions for. A tokenizer may know tokens that nothing uses and the model
    lacks, as those of Gemma 3's text models do.
    """
    if tokens.numel() >= 2**31:
        raise StudyError(
            f"the corpus has {tokens.numel():,} tokens; a histogram counts fewer than {2**31:,}; lower"
            " corpus.sequences"
        )
    embedding = subject.model.get_input_embeddings()
    rows = int(getattr(embedding, "num_embeddings", embedding.weight.shape[0]))
    if outside := [token for token in subject.prefix_ids if not 0 <= token < rows]:
        raise SubjectError(
            f"the prefix holds {_named(outside[0], subject)}, but the embedding of {subject.name} has rows 0"
            f" to {rows - 1}; give a token that the model knows, or none"
        )
    if bool((missing := (tokens < 0) | (tokens >= rows)).any()):
        named = [
            _named(token, subject) for token in sorted({int(token) for token in tokens[missing][:_MOST]})
        ]
        raise SubjectError(
            f"the tokenizer does not fit the model: the corpus holds {', '.join(named[:_SHOWN])}"
            f"{f' and {len(named) - _SHOWN} more' if len(named) > _SHOWN else ''}, but the embedding of"
            f" {subject.name} has rows 0 to {rows - 1}; {_REMEDY}"
        )
    length = len(subject.prefix_ids) + tokens.shape[1]
    positions = getattr(getattr(subject.model, "config", None), "max_position_embeddings", None)
    if isinstance(positions, int) and 0 < positions < length:  # XLNet states -1 for no limit
        raise StudyError(
            f"sequences of {tokens.shape[1]} tokens with {len(subject.prefix_ids)} before them exceed the"
            f" {positions} positions of {subject.name}; lower corpus.sequence_length"
        )


_REMEDY = (
    "leave texts with these out, or give a model and a tokenizer that were made for each other, and"
    " materialise the corpus again"
)
_SHOWN, _MOST = 5, 10_000
"""Tokens that a message names, and places that are looked at for them."""


def _named(token: int, subject: Subject) -> str:
    """Return a token's id with its text, where the tokenizer knows one."""
    known = subject.tokenizer.token_bytes
    return f"token {token}" + (f" ({display(known[token])!r})" if 0 <= token < len(known) else "")


_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says, in errors without a type of their own, when the CPU or a GPU library lacks memory."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether a failure was for want of memory, on a GPU, in torch on the CPU, in numpy or in Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def fits(subject: Subject, work: Callable[..., None], *places: Any, smallest: bool = False) -> bool:
    """Do some work; tell whether memory sufficed. Raises where nothing smaller can be tried."""
    try:
        work(*places)
    except (MemoryError, RuntimeError) as error:
        if smallest or not is_lack_of_memory(error):
            raise
    else:
        return True
    # The error is gone here, and with it what its frames held.
    if subject.device.type == "cuda":
        torch.cuda.empty_cache()
    return False


@contextmanager
def lack_of_memory_explained(subject: Subject) -> Generator[None]:
    """Turn a lack of memory that no smaller batch cures into a CaptureError that says what does."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        raise CaptureError(
            f"{subject.name}: memory of {subject.device} does not suffice for one sequence beside the model"
            " and the states; select fewer layers per run, a narrower subject.dtype or a larger device"
        ) from error

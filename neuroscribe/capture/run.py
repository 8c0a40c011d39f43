"""Drives the corpus through the subject once and reduces every selected layer on the way.

Design section 5: backbone only, hooks on the down-projections' inputs, reduction inside the hook. A
checkpoint after every block of sequences lets a killed run continue; a finished state is never computed
twice.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.architectures import DownProjection, down_projections
from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.capture.fit import check_tokens
from neuroscribe.capture.reduction import KernelName, Reduction
from neuroscribe.capture.state import CapturePlan, LayerState, empty_state
from neuroscribe.corpus import distinct_tokens
from neuroscribe.errors import CaptureError, StudyError
from neuroscribe.ports import Progress
from neuroscribe.subjects import Subject

_CPU = torch.device("cpu")


def capture(
    subject: Subject,
    tokens: Int[Tensor, "sequence token"],
    *,
    plan: CapturePlan,
    layers: Sequence[int],
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    kernel_name: KernelName = "auto",
) -> dict[int, LayerState]:
    """Return each layer's finished state, on the CPU, after one pass of all sequences in ascending order.

    `tokens` holds ids of the subject's tokenizer. `kernel_name`: `compiled` (CPU), `reference` (any device)
    or `auto`. Layers already finished are read from `checkpoints`. A batch for which memory does not suffice
    is halved, and so are those after it. Raises StudyError for a layer without a
    dense MLP, SubjectError for tokens that the model lacks, and CaptureError for NaN or inf, naming layer,
    neuron, sequence and position.
    """
    projections = selected_projections(subject.model, layers)
    check_tokens(subject, tokens)
    states = checkpoints.finished(projections) if checkpoints else {}
    if remaining := {layer: found for layer, found in projections.items() if layer not in states}:
        reduction = Reduction(subject, plan, remaining, kernel_name=kernel_name)
        states |= _captured(reduction, tokens, progress, checkpoints)
    return {layer: states[layer] for layer in projections}


def selected_projections(model: torch.nn.Module, layers: Sequence[int]) -> dict[int, DownProjection]:
    """Return the down-projections of the layers, ascending; raises StudyError for a layer without one."""
    found = down_projections(model)
    if missing := [layer for layer in layers if layer not in found]:
        raise StudyError(
            f"layer {missing[0]} has no dense MLP in this model; layers with one: {min(found)} to"
            f" {max(found)}"
        )
    return {layer: found[layer] for layer in sorted(layers)}


def _captured(
    reduction: Reduction,
    tokens: Int[Tensor, "sequence token"],
    progress: Progress,
    checkpoints: Checkpoints | None,
) -> dict[int, LayerState]:
    """Run the pass, from the last checkpoint that all its layers have reached."""
    subject, total = reduction.subject, len(tokens)
    block = checkpoints.every if checkpoints else total
    distinct, places = distinct_tokens(tokens)
    states = checkpoints.resumed(reduction.projections, total) if checkpoints else {}
    done = min((state.sequences for state in states.values()), default=0)
    plan, projections = reduction.plan, reduction.projections
    reduction.begin(states or _empty_states(plan, projections, tokens.shape[1], len(distinct)))
    reduction.check(tokens[:1])
    with progress.task(f"capture {subject.name}", total=total, unit="sequences") as advance:
        advance(done)
        batch = _batch(subject, tokens.shape[1])
        while done < total:
            stop = min(done + batch, done - done % block + block, total)
            try:
                reduction.take(tokens[done:stop], places[done:stop], first=done)
            except torch.OutOfMemoryError as error:
                batch = _halved(stop - done, subject, error)
                advance(0, note=f"out of memory; on with batches of {batch}")
                continue
            advance(stop - done)
            done = stop
            if checkpoints and done % block == 0 and done < total:
                checkpoints.save(reduction.states, done=done, dtype=subject.vector_dtype)
    states = {layer: state.on(_CPU) for layer, state in reduction.states.items()}
    if checkpoints:
        checkpoints.save(states, done=None, dtype=subject.vector_dtype)
    return states


def _empty_states(
    plan: CapturePlan, projections: Mapping[int, DownProjection], tokens: int, vocabulary: int
) -> dict[int, LayerState]:
    return {
        layer: empty_state(plan, layer=layer, neurons=found.neurons, tokens=tokens, vocabulary=vocabulary)
        for layer, found in projections.items()
    }


def _batch(subject: Subject, length: int) -> int:
    """Return the number of sequences per forward pass."""
    return max(1, subject.batch_tokens // (len(subject.prefix_ids) + length))


def _halved(batch: int, subject: Subject, error: torch.OutOfMemoryError) -> int:
    """Return half a batch that was too large, with the device's memory swept; raises CaptureError at one."""
    if batch == 1:
        raise CaptureError(
            f"{subject.name}: memory of {subject.device} does not suffice for one sequence beside the model"
            " and the states; select fewer layers per run, a narrower subject.dtype or a larger device"
        ) from error
    if subject.device.type == "cuda":
        torch.cuda.empty_cache()
    return batch // 2

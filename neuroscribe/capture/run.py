"""Drives the corpus through the subject once and reduces every selected layer on the way.

Design section 5: backbone only, hooks on the down-projections' inputs, reduction inside the hook. A
checkpoint every minute lets a killed run continue; a finished state is never computed twice. A corpus may be
captured in shards, on any machines and in any order: the states are merged to the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.architectures import DownProjection, down_projections
from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.capture.fit import check_tokens
from neuroscribe.capture.merge import merged
from neuroscribe.capture.reduction import KernelName, Reduction
from neuroscribe.capture.state import CapturePlan, LayerState
from neuroscribe.corpus import distinct_tokens
from neuroscribe.errors import CaptureError, StudyError
from neuroscribe.ports import Progress
from neuroscribe.subjects import Subject
from neuroscribe.whole_activations import WholeActivations

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
    shards: int = 1,
    whole: WholeActivations | None = None,
) -> dict[int, LayerState]:
    """Return each layer's finished state, on the CPU, after one pass of all sequences.

    `tokens` holds ids of the subject's tokenizer. `kernel_name`: `compiled` (CPU), `batched` (GPU),
    `reference` (any device) or `auto`. Layers already finished are read from `checkpoints`, and so are shards
    that `capture_shard` has captured elsewhere; the rest is captured here. A batch for which memory does not
    suffice is halved, and so are those after it. With `whole`, all activations are written as well. Raises
    StudyError for a layer without a dense MLP or too many shards, SubjectError for tokens that the model
    lacks, and CaptureError for NaN or inf, naming layer, neuron, sequence and position.
    """
    projections = selected_projections(subject.model, layers)
    check_tokens(subject, tokens)
    work = _Work(subject, tokens, plan, progress, kernel_name, whole)
    if shards == 1:
        states = work.shard(projections, range(len(tokens)), checkpoints)
    else:
        states = work.in_shards(projections, shards, checkpoints)
    if checkpoints:
        checkpoints.drop_shards(projections)
    return states


def capture_shard(
    subject: Subject,
    tokens: Int[Tensor, "sequence token"],
    *,
    plan: CapturePlan,
    layers: Sequence[int],
    progress: Progress,
    checkpoints: Checkpoints,
    shard: int,
    shards: int,
    whole: WholeActivations | None = None,
) -> dict[int, LayerState]:
    """Capture one shard (from 0) of the corpus `tokens` and leave its states in `checkpoints` for `capture`.

    Raises what `capture` raises.
    """
    projections = selected_projections(subject.model, layers)
    check_tokens(subject, tokens)
    own = shard_range(len(tokens), shard, shards, plan.block)
    work = _Work(subject, tokens, plan, progress, whole=whole)
    return work.shard(projections, own, checkpoints.of(shard, shards))


def shard_range(sequences: int, shard: int, shards: int, block: int) -> range:
    """Return the sequences of one shard: whole blocks, shared out evenly; raises StudyError for too many."""
    blocks = -(-sequences // block)
    if not 0 <= shard < shards <= blocks:
        raise StudyError(
            f"shard {shard} of {shards}: {sequences} sequences are {blocks} blocks of {block}, so there can"
            f" be 1 to {blocks} shards, counted from 0"
        )
    first, stop = (blocks * place // shards * block for place in (shard, shard + 1))
    return range(first, min(stop, sequences))


def selected_projections(model: torch.nn.Module, layers: Sequence[int]) -> dict[int, DownProjection]:
    """Return the down-projections of the layers, ascending; raises StudyError for a layer without one."""
    found = down_projections(model)
    if missing := [layer for layer in layers if layer not in found]:
        raise StudyError(
            f"layer {missing[0]} has no dense MLP in this model; layers with one: {min(found)} to"
            f" {max(found)}"
        )
    return {layer: found[layer] for layer in sorted(layers)}


@dataclass(frozen=True)
class _Work:
    """What the shards of a capture have in common."""

    subject: Subject
    tokens: Int[Tensor, "sequence token"]
    plan: CapturePlan
    progress: Progress
    kernel_name: KernelName = "auto"
    whole: WholeActivations | None = None

    def in_shards(
        self, projections: Mapping[int, DownProjection], shards: int, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        """Return finished states, or merge the shards; those that are not there yet are captured."""
        states = checkpoints.finished(projections) if checkpoints else {}
        remaining = {layer: found for layer, found in projections.items() if layer not in states}
        parts: list[dict[int, LayerState]] = []
        for shard in range(shards) if remaining else ():
            own = shard_range(len(self.tokens), shard, shards, self.plan.block)
            part = self.shard(remaining, own, checkpoints.of(shard, shards) if checkpoints else None)
            # With files, one layer's shards are read at a time: memory does not grow with their number.
            parts.append({} if checkpoints else part)
        for layer in remaining:
            own_parts = [
                part[layer] if not checkpoints else checkpoints.of(shard, shards).finished([layer])[layer]
                for shard, part in enumerate(parts)
            ]
            states[layer] = merged(own_parts, self.plan)
            if checkpoints:
                checkpoints.finish({layer: states[layer]})
        return {layer: states[layer] for layer in projections}

    def shard(
        self, projections: Mapping[int, DownProjection], own: range, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        """Return the finished states of a shard, captured from where an interrupted run left it."""
        states = checkpoints.finished(projections) if checkpoints else {}
        if remaining := {layer: found for layer, found in projections.items() if layer not in states}:
            states |= self._captured(remaining, own, checkpoints)
        return {layer: states[layer] for layer in projections}

    def _captured(
        self, projections: Mapping[int, DownProjection], own: range, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        reduction = Reduction(
            self.subject, self.plan, projections, kernel_name=self.kernel_name, whole=self.whole
        )
        distinct, place = distinct_tokens(self.tokens)
        reduction.check(self.tokens[:1])
        states, free = checkpoints.resumed(projections) if checkpoints else ({}, 0)
        reduction.begin(states or reduction.empty_states(vocabulary=len(distinct)))
        self._pass(reduction, place, own, checkpoints, free)
        states = {layer: state.on(_CPU, lookup=_CPU) for layer, state in reduction.states.items()}
        for layer in states if self.whole else ():
            cast(WholeActivations, self.whole).finish(layer, len(self.tokens))
        if checkpoints:
            checkpoints.finish(states)
        return states

    def _pass(
        self,
        reduction: Reduction,
        place: Int[Tensor, " token_id"],
        own: range,
        checkpoints: Checkpoints | None,
        free: int,
    ) -> None:
        """Run the sequences that the states have not taken; `free` is the place for the next checkpoint."""
        subject, block = self.subject, self.plan.block
        # What is held of a block of whole activations is lost in a kill, so checkpoints come between blocks.
        unit = self.whole.block if self.whole else 1
        done, batch = max(own.start, reduction.stop), subject.batch(self.tokens.shape[1])
        due = self.progress.alarm(subject.checkpoint_seconds)
        with self.progress.task(f"capture {subject.name}", total=len(own), unit="sequences") as advance:
            advance(done - own.start)
            while done < own.stop:
                end = block if unit == 1 else unit
                stop = min(done + batch, done - done % end + end, own.stop)
                try:
                    tokens = self.tokens[done:stop]
                    reduction.take(tokens, place[tokens], first=done)
                except torch.OutOfMemoryError as error:
                    batch = _halved(stop - done, subject, error)
                    advance(0, note=f"out of memory; on with batches of {batch}")
                    continue
                if stop % block == 0 or stop == own.stop:
                    reduction.fold()
                advance(stop - done)
                done = stop
                if checkpoints and done % unit == 0 and done < own.stop and due():
                    reduction.settle()
                    checkpoints.save(reduction.states, free)
                    free = 1 - free


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

"""Drives the corpus through the subject once and reduces every selected layer on the way.

Design section 5: backbone only, hooks on the down-projections' inputs, reduction inside the hook. Checkpoints
let a killed run continue (`neuroscribe.capture.corpus_pass` says what is guaranteed), whichever layers either
run selects; a finished state is never computed twice. A corpus may be captured in shards, on any machines and
in any order: the states are merged to the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.architectures import DownProjection, down_projections
from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.capture.corpus_pass import CorpusPass
from neuroscribe.capture.fit import check_tokens
from neuroscribe.capture.memory import lack_of_memory_explained
from neuroscribe.capture.merge import merged
from neuroscribe.capture.reduction import KernelName, Reduction
from neuroscribe.capture.state import CapturePlan, LayerState
from neuroscribe.errors import StudyError
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
    lacks, and CaptureError for NaN or inf, naming layer, neuron, sequence and position, and where memory does
    not suffice for one sequence.
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
        states = checkpoints.finished(projections, range(len(self.tokens))) if checkpoints else {}
        remaining = {layer: found for layer, found in projections.items() if layer not in states}
        parts: list[dict[int, LayerState]] = []
        ranges = [
            shard_range(len(self.tokens), shard, shards, self.plan.block)
            for shard in (range(shards) if remaining else ())
        ]
        for shard, own in enumerate(ranges):
            part = self.shard(remaining, own, checkpoints.of(shard, shards) if checkpoints else None)
            # With files, one layer's shards are read at a time: memory does not grow with their number.
            parts.append({} if checkpoints else part)
        for layer in remaining:
            own_parts = [
                checkpoints.of(shard, shards).finished([layer], ranges[shard])[layer]
                if checkpoints
                else part[layer]
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
        states = checkpoints.finished(projections, own) if checkpoints else {}
        if remaining := {layer: found for layer, found in projections.items() if layer not in states}:
            states |= self._captured(remaining, own, checkpoints)
        return {layer: states[layer] for layer in projections}

    def _captured(
        self, projections: Mapping[int, DownProjection], own: range, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        with lack_of_memory_explained(self.subject):
            reduction = Reduction(
                self.subject, self.plan, projections, kernel_name=self.kernel_name, whole=self.whole
            )
            reduction.check(self.tokens[:1])
            CorpusPass(reduction, self.tokens, own, progress=self.progress, checkpoints=checkpoints).run()
            states = {layer: state.on(_CPU, lookup=_CPU) for layer, state in reduction.states.items()}
            for layer in states if self.whole else ():
                cast(WholeActivations, self.whole).finish(layer, len(self.tokens))
            if checkpoints:
                checkpoints.finish(states)
        return states

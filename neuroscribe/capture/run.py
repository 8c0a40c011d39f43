"""Drives the corpus through the subject once and reduces every selected layer on the way.

The backbone alone runs, with hooks where the neurons are, and reduction is inside the hook. Checkpoints let a
killed run continue, whichever layers either run selects; a finished state is never computed twice. A corpus
may be captured in shards, on any machines and in any order: the states are merged to the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.capture.fit import check_tokens, fits, lack_of_memory_explained
from neuroscribe.capture.merge import merged
from neuroscribe.capture.reduction import KernelName, Reduction
from neuroscribe.capture.state import CapturePlan, LayerState
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import StudyError
from neuroscribe.ports.stores import Progress
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site


class CorpusPass:
    """A pass of some `sequences` of a corpus, which all states of the reduction have taken at its end."""

    def __init__(
        self,
        reduction: Reduction,
        tokens: Int[Tensor, "sequence token"],
        sequences: range,
        *,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._reduction, self._tokens, self._sequences = reduction, tokens, sequences
        self._progress, self._checkpoints = progress, checkpoints
        self._subject = reduction.subject
        # What is held of a block of whole activations is lost in a kill, so checkpoints come between blocks.
        self._unit = reduction.whole.block if reduction.whole else 1
        self._due = progress.alarm(self._subject.checkpoint_seconds)

    def run(self) -> None:
        """Run what the states have not taken; raises CaptureError for activations that are not finite.

        Memory that does not suffice for one sequence is raised as it is met.
        """
        label = f"capture {self._subject.name}"
        with self._progress.task(label, total=len(self._sequences), unit="sequences") as advance:
            done, batch = self._begun(), self._subject.batch(self._tokens.shape[1])
            advance(done - self._sequences.start)
            while done < self._sequences.stop:
                stop = self._end(done, batch)
                if fits(self._subject, self._take, done, stop, smallest=stop - done == 1):
                    advance(stop - done)
                    done = stop
                    if self._is_due(done) and not fits(self._subject, self._save, done):
                        advance(0, note="out of memory; a checkpoint is left out")
                    continue
                batch = (stop - done) // 2
                back = self._begun() if self._reduction.torn else done
                again = f", again from sequence {back}" if back < done else ""
                advance(back - done, note=f"out of memory; on with batches of {batch}{again}")
                done = back

    def _begun(self) -> int:
        """Start from the last checkpoints; return the first sequence that some layer has not taken."""
        self._reduction.let_go()
        layers = self._reduction.sites
        states = self._checkpoints.resumed(layers, self._sequences) if self._checkpoints else {}
        self._reduction.begin(states)
        return max(self._sequences.start, self._reduction.stop)

    def _end(self, done: int, batch: int) -> int:
        """Return where a batch ends: blocks of sums, or of whole activations, are cut where they end."""
        block = self._reduction.plan.block if self._unit == 1 else self._unit
        return min(done + batch, done - done % block + block, self._sequences.stop)

    def _take(self, done: int, stop: int) -> None:
        self._reduction.take(self._tokens[done:stop], first=done)
        if stop % self._reduction.plan.block == 0 or stop == self._sequences.stop:
            self._reduction.fold(stop)

    def _is_due(self, done: int) -> bool:
        between = done % self._unit == 0 and done < self._sequences.stop
        return self._checkpoints is not None and between and self._due()

    def _save(self, done: int) -> None:
        """Write the states that have come so far; layers further on have their files."""
        assert self._checkpoints is not None
        self._reduction.settle()
        states = {layer: state for layer, state in self._reduction.states.items() if state.stop == done}
        self._checkpoints.save(states)
        self._due()  # asked at once, the alarm learns how long this took


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
    StudyError for a layer without neurons or too many shards, SubjectError for tokens that the model
    lacks, and CaptureError for NaN or inf, naming layer, neuron, sequence and position, and where memory does
    not suffice for one sequence.
    """
    sites = subject.sites(layers)
    check_tokens(subject, tokens)
    work = _Work(subject, tokens, plan, progress, kernel_name, whole)
    if shards == 1:
        states = work.shard(sites, range(len(tokens)), checkpoints)
    else:
        states = work.in_shards(sites, shards, checkpoints)
    if checkpoints:
        checkpoints.drop_shards(sites)
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
    sites = subject.sites(layers)
    check_tokens(subject, tokens)
    sequences = shard_range(len(tokens), shard, shards, plan.block)
    work = _Work(subject, tokens, plan, progress, whole=whole)
    return work.shard(sites, sequences, checkpoints.of(shard, shards))


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
        self, sites: Mapping[int, Site], shards: int, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        """Return finished states, or merge the shards; those that are not there yet are captured."""
        states = checkpoints.finished(sites, range(len(self.tokens))) if checkpoints else {}
        remaining = {layer: site for layer, site in sites.items() if layer not in states}
        parts: list[dict[int, LayerState]] = []
        ranges = [
            shard_range(len(self.tokens), shard, shards, self.plan.block)
            for shard in (range(shards) if remaining else ())
        ]
        for shard, sequences in enumerate(ranges):
            part = self.shard(remaining, sequences, checkpoints.of(shard, shards) if checkpoints else None)
            # With files, one layer's shards are read at a time: memory does not grow with their number.
            parts.append({} if checkpoints else part)
        for layer in remaining:
            layer_parts = [
                checkpoints.of(shard, shards).finished([layer], ranges[shard])[layer]
                if checkpoints
                else part[layer]
                for shard, part in enumerate(parts)
            ]
            states[layer] = merged(layer_parts, self.plan)
            if checkpoints:
                checkpoints.finish({layer: states[layer]})
        return {layer: states[layer] for layer in sites}

    def shard(
        self, sites: Mapping[int, Site], sequences: range, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        """Return the finished states of a shard, captured from where an interrupted run left it."""
        states = checkpoints.finished(sites, sequences) if checkpoints else {}
        if remaining := {layer: site for layer, site in sites.items() if layer not in states}:
            states |= self._captured(remaining, sequences, checkpoints)
        return {layer: states[layer] for layer in sites}

    def _captured(
        self, sites: Mapping[int, Site], sequences: range, checkpoints: Checkpoints | None
    ) -> dict[int, LayerState]:
        with lack_of_memory_explained(self.subject):
            reduction = Reduction(
                self.subject, self.plan, sites, kernel_name=self.kernel_name, whole=self.whole
            )
            reduction.check(self.tokens[:1])
            corpus = CorpusPass(
                reduction, self.tokens, sequences, progress=self.progress, checkpoints=checkpoints
            )
            corpus.run()
            states = {layer: state.on(_CPU) for layer, state in reduction.states.items()}
            if self.whole:
                for layer in states:
                    self.whole.finish(layer, len(self.tokens))
            if checkpoints:
                checkpoints.finish(states)
        return states

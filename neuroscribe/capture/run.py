"""Drives the corpus through the subject once and reduces every selected layer on the way.

Design section 5: backbone only, hooks on the down-projections' inputs, reduction inside the hook. A
checkpoint after every block of sequences lets a killed run continue; a finished state is never computed twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.architectures import DownProjection, down_projections
from neuroscribe.capture import kernel, reference
from neuroscribe.capture.hooks import check_projections, forward, reading
from neuroscribe.capture.state import CapturePlan, LayerState, empty_state
from neuroscribe.errors import CaptureError, StudyError
from neuroscribe.polarity import explained_side
from neuroscribe.ports import Progress, TensorStore
from neuroscribe.subjects import Subject

CHECKPOINT_SEQUENCES = 1024
"""Sequences between checkpoints: about a minute of two CPU cores on a 135 M subject."""


@dataclass(frozen=True)
class Checkpoints:
    """Where states are kept between and after blocks; files of another fingerprint are ignored."""

    store: TensorStore
    folder: str
    fingerprint: str
    every: int = CHECKPOINT_SEQUENCES

    def path(self, layer: int, sequences: int | None = None) -> str:
        """Return the file of a layer's finished state, or of its state after `sequences`."""
        part = "" if sequences is None else f".after_{sequences}"
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def load(self, layers: Sequence[int], total: int) -> dict[int, LayerState]:
        """Return the states of all layers at the furthest point that all have reached, or nothing."""
        for done in (None, *range(total - total % self.every, 0, -self.every)):
            paths = {layer: self.path(layer, done) for layer in layers}
            if all(self.store.exists(path) for path in paths.values()):
                states = {layer: self._state(path) for layer, path in paths.items()}
                if all(state is not None for state in states.values()):
                    return {layer: state for layer, state in states.items() if state is not None}
        return {}

    def save(self, states: Mapping[int, LayerState], *, done: int | None, dtype: torch.dtype) -> None:
        """Write all layers' states, then drop those of the block before."""
        for layer, state in states.items():
            metadata = {"fingerprint": self.fingerprint, "sequences": str(state.sequences)}
            self.store.write(self.path(layer, done), state.tensors(dtype), metadata)
        for layer, state in states.items():
            for earlier in range(self.every, state.sequences + 1, self.every):
                if earlier != done:
                    self.store.remove(self.path(layer, earlier))

    def _state(self, path: str) -> LayerState | None:
        tensors, metadata = self.store.read(path)
        if metadata.get("fingerprint") != self.fingerprint:
            return None
        return LayerState.restored(tensors, int(metadata["sequences"]))


def capture(
    subject: Subject,
    tokens: Int[Tensor, "sequence token"],
    *,
    plan: CapturePlan,
    layers: Sequence[int],
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    kernel_name: str = "auto",
) -> dict[int, LayerState]:
    """Return the finished state of each layer, after one pass of all sequences in ascending order.

    `tokens` holds ids of the subject's tokenizer. `kernel_name`: `compiled` (CPU), `reference` (any device)
    or `auto`. Raises CaptureError for NaN or inf, naming layer, neuron, sequence and position.
    """
    projections = selected_projections(subject.model, layers)
    total = len(tokens)
    states = checkpoints.load(layers, total) if checkpoints else {}
    done = min((state.sequences for state in states.values()), default=0)
    if done < total:
        distinct, places = torch.unique(tokens, return_inverse=True)
        if not states:
            states = _empty_states(plan, projections, tokens.shape[1], len(distinct), subject.device)
        run = _Pass(subject, plan, projections, states, kernel_name)
        run.check(tokens[:1])
        with progress.task(f"capture {subject.name}", total=total, unit="sequences") as advance:
            advance(done)
            for start, stop in _batches(done, total, checkpoints.every if checkpoints else total, run.batch):
                run.take(tokens[start:stop], places[start:stop], start)
                advance(stop - start)
                if checkpoints and stop % checkpoints.every == 0 and stop < total:
                    checkpoints.save(states, done=stop, dtype=subject.vector_dtype)
    if checkpoints and done < total:
        checkpoints.save(states, done=None, dtype=subject.vector_dtype)
    return states


def selected_projections(model: torch.nn.Module, layers: Sequence[int]) -> dict[int, DownProjection]:
    """Return the down-projections of the layers, ascending; raises StudyError for a layer without one."""
    found = down_projections(model)
    if missing := [layer for layer in layers if layer not in found]:
        raise StudyError(
            f"layer {missing[0]} has no dense MLP in this model; layers with one: {min(found)} to {max(found)}"
        )
    return {layer: found[layer] for layer in sorted(layers)}


@dataclass
class _Pass:
    """One pass through the corpus: turns batches of tokens into updates of the states."""

    subject: Subject
    plan: CapturePlan
    projections: Mapping[int, DownProjection]
    states: Mapping[int, LayerState]
    kernel_name: str

    def __post_init__(self) -> None:
        on_cpu = self.subject.device.type == "cpu"
        compiled = self.kernel_name == "compiled" or (self.kernel_name == "auto" and on_cpu)
        self._take = kernel.take if compiled else reference.take
        self._random = {sequence: slot for slot, sequence in enumerate(self.plan.random_ids)}

    @property
    def batch(self) -> int:
        """Sequences per forward pass."""
        length = len(self.subject.prefix_ids) + next(iter(self.states.values())).top_vector.shape[3]
        return max(1, self.subject.batch_tokens // length)

    def check(self, tokens: Int[Tensor, "sequence token"]) -> None:
        """Check on one sequence that the hooks read the neurons."""
        check_projections(self.subject.model, self.projections, self._with_prefix(tokens))

    def take(
        self, tokens: Int[Tensor, "sequence token"], places: Int[Tensor, "sequence token"], start: int
    ) -> None:
        """Run one batch; `places` are its tokens as rows of the lookup table, `start` its first id."""
        ids = torch.arange(start, start + len(tokens), device=self.subject.device)
        calls = dict.fromkeys(self.projections, 0)

        def reduce(layer: int, read: Float[Tensor, "..."]) -> None:
            calls[layer] += 1
            activations = read.reshape(len(tokens), -1, read.shape[-1])[:, len(self.subject.prefix_ids) :]
            self._reduce(layer, activations.float().contiguous(), ids, places)

        with reading(self.projections, reduce, stop=True):
            forward(self.subject.model, self._with_prefix(tokens))
        if wrong := [layer for layer, count in calls.items() if count != 1]:
            raise CaptureError(f"layer {wrong[0]} was read {calls[wrong[0]]} times in one batch, expected once")

    def _reduce(
        self,
        layer: int,
        activations: Float[Tensor, "sequence token neuron"],
        ids: Int[Tensor, " sequence"],
        places: Int[Tensor, "sequence token"],
    ) -> None:
        state = self.states[layer]
        self._take(state, activations, ids, self.plan.polarities)
        if not bool(torch.isfinite(state.sums[1]).all()):
            raise CaptureError(_located(layer, activations, ids))
        held_out = [row for row, sequence in enumerate(ids.tolist()) if sequence not in self._random]
        for row, sequence in enumerate(ids.tolist()):
            if sequence in self._random:
                state.random_vector[self._random[sequence]] = activations[row]
        if neurons := self.plan.lookup_neurons.get(layer):
            chosen = activations[held_out][:, :, list(neurons)].flatten(0, 1).double()
            sides = [explained_side(chosen, side, self.plan.polarities) for side in self.plan.polarities]
            where = places[held_out].flatten().to(activations.device)
            state.lookup_sum.index_add_(0, where, torch.cat(sides, 1))

    def _with_prefix(self, tokens: Int[Tensor, "sequence token"]) -> Int[Tensor, "sequence position"]:
        prefix = torch.tensor(self.subject.prefix_ids, dtype=torch.int64).expand(len(tokens), -1)
        return torch.cat([prefix, tokens], 1).to(self.subject.device)


def _empty_states(
    plan: CapturePlan,
    projections: Mapping[int, DownProjection],
    tokens: int,
    vocabulary: int,
    device: torch.device,
) -> dict[int, LayerState]:
    return {
        layer: empty_state(
            plan, layer=layer, neurons=p.neurons, tokens=tokens, vocabulary=vocabulary, device=device
        )
        for layer, p in projections.items()
    }


def _batches(done: int, total: int, block: int, batch: int) -> list[tuple[int, int]]:
    """Return (start, stop) of every batch; none straddles the end of a block."""
    starts = [
        (start, min(start + batch, first + block, total))
        for first in range(0, total, block)
        for start in range(first, min(first + block, total), batch)
    ]
    return [(start, stop) for start, stop in starts if start >= done]


def _located(layer: int, activations: Float[Tensor, "sequence token neuron"], ids: Int[Tensor, " sequence"]) -> str:
    """Say where the first value that is not finite stands."""
    bad = (~torch.isfinite(activations)).nonzero()
    if not len(bad):
        return f"layer {layer}: activations are too large for their fourth powers to be summed in fp64"
    sequence, position, neuron = (int(value) for value in bad[0])
    return (
        f"layer {layer}, neuron {neuron}, sequence {int(ids[sequence])}, position {position}: the activation is"
        f" {activations[sequence, position, neuron].item()}; run the subject in another dtype (study key"
        " subject.dtype) or leave the text out"
    )

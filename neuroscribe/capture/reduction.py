"""Turns batches of tokens into updates of the states, inside the hooks, while the subject runs."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.capture import batched, reference
from neuroscribe.capture.state import LOOKUP_UNIT, CapturePlan, LayerState, empty_state
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import CaptureError
from neuroscribe.evidence.exemplars import explained_side
from neuroscribe.subject.hooks import check_sites, compiled_forward, forward, reading
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

KernelName = Literal["auto", "compiled", "batched", "reference"]
_LOOKUP_BYTES = 8 * 2**30
"""Token-lookup sums up to this size lie on the GPU, larger ones in the machine's memory."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Taken:
    """A batch whose activations have been reduced on a device that has not been waited for."""

    layer: int
    ids: range
    tokens: Int[Tensor, "sequence token"]
    finite: Bool[Tensor, ""]


class Reduction:
    """The running states of the layers of one pass."""

    def __init__(
        self,
        subject: Subject,
        plan: CapturePlan,
        sites: Mapping[int, Site],
        *,
        kernel_name: KernelName = "auto",
        whole: WholeActivations | None = None,
    ) -> None:
        on_gpu = subject.device.type == "cuda" and kernel_name != "compiled"
        name = ("batched" if on_gpu else "compiled") if kernel_name == "auto" else kernel_name
        self.subject, self.plan, self.sites, self.whole = subject, plan, sites, whole
        self.states: dict[int, LayerState] = {}
        self.torn = False
        """Whether a reduction broke off and left a state half changed: `begin` again."""
        self._first: dict[int, Float[Tensor, "token neuron"]] = {}
        # Other devices lack fp64, so what they compute is reduced on the CPU.
        self._device = subject.device if on_gpu else _CPU
        self._take = _step(name)
        self._pending: list[_Taken] = []
        self._random = {sequence: slot for slot, sequence in enumerate(plan.random_ids)}

    def begin(self, states: Mapping[int, LayerState], *, vocabulary: int) -> None:
        """Start from these states of some layers, and of the others before any sequence.

        `vocabulary` is the number of distinct tokens of the corpus.
        """
        self._pending, self.torn = [], False
        if self.whole:
            self.whole.begin_again()
        started = {**states, **self._empty_states(states, vocabulary)}
        size = sum(state.lookup_sum.nbytes for state in started.values())
        lookup = self._device if size <= _LOOKUP_BYTES else _CPU
        self.states = {layer: started[layer].on(self._device, lookup=lookup) for layer in self.sites}

    def let_go(self) -> None:
        """Give up the states, and with them their memory."""
        self._pending, self.states = [], {}

    @property
    def stop(self) -> int:
        """The id after the last sequence that all layers have taken."""
        return min(state.stop for state in self.states.values())

    def check(self, first_sequence: Int[Tensor, "one token"]) -> None:
        """Check on the corpus' first sequence that the hooks read the neurons; raises CaptureError."""
        read = check_sites(self.subject.model, self.sites, self._with_prefix(first_sequence))
        skipped = len(self.subject.prefix_ids)
        for layer, activations in read.items():
            self._first[layer] = activations.reshape(skipped + first_sequence.shape[1], -1)[skipped:].cpu()

    def _empty_states(self, begun: Container[int], vocabulary: int) -> dict[int, LayerState]:
        """Return states before any sequence, for layers that have been checked and not begun.

        Sums are taken about the first activation of the corpus, rounded, so that shards on machines that
        differ in the last bits agree on it.
        """
        return {
            layer: empty_state(
                self.plan,
                layer=layer,
                neurons=values.shape[1],
                tokens=len(values),
                vocabulary=vocabulary,
                pivot=values[0].bfloat16().float().nan_to_num(0, 0, 0),
                dtype=torch.bfloat16 if values.dtype == torch.bfloat16 else torch.float32,
            )
            for layer, values in self._first.items()
            if layer not in begun
        }

    def take(
        self, tokens: Int[Tensor, "sequence token"], places: Int[Tensor, "sequence token"], *, first: int
    ) -> None:
        """Run one batch; `places` are its tokens as rows of the lookup table, `first` its first id.

        Layers that have taken sequences before pass over them. After a lack of memory, take the same
        sequences again in smaller batches; if it left the states torn, `begin` again before.
        """
        stop = first + len(tokens)
        needed = {layer: site for layer, site in self.sites.items() if self.states[layer].stop < stop}
        calls, skipped = dict.fromkeys(needed, 0), len(self.subject.prefix_ids)

        def reduce(layer: int, read: Float[Tensor, "..."]) -> None:
            calls[layer] += 1
            laid_out = read.dim() == 3 and len(read) == len(tokens)
            rest = read if laid_out else read.reshape(len(tokens), -1, read.shape[-1])
            taken = max(0, self.states[layer].stop - first)
            rest, ids = rest.to(self._device)[taken:], range(first + taken, stop)
            self.torn = True
            finite = self._reduce(layer, rest, ids, places[taken:])
            self.torn = False
            if finite is False:
                raise CaptureError(_located(layer, rest[:, skipped:].float(), ids))
            if finite is not True:
                self._pending.append(_Taken(layer, ids, tokens[taken:], finite))

        graph = self.subject.compiled
        # Each shape is compiled anew, so the smaller batches at the ends of blocks run as the model is.
        if needed and graph and len(tokens) == self.subject.batch(tokens.shape[1]):
            compiled_forward(graph, self._with_prefix(tokens), needed, reduce)
        elif needed:
            with reading(needed, reduce, stop=True):
                forward(self.subject.model, self._with_prefix(tokens))
        if wrong := [layer for layer, count in calls.items() if count != 1]:
            raise CaptureError(
                f"layer {wrong[0]} was read {calls[wrong[0]]} times in one batch, expected once; its layer is"
                " shared, re-entrant or skipped, which is not supported"
            )

    def fold(self, stop: int) -> None:
        """End a block of sequences that ends before `stop`; raises CaptureError for what is not finite.

        Layers that are further on have ended it before.
        """
        self.settle()
        for state in self.states.values():
            if state.stop == stop:
                state.fold()

    def _reduce(
        self,
        layer: int,
        activations: Float[Tensor, "sequence position neuron"],
        ids: range,
        places: Int[Tensor, "sequence token"],
    ) -> bool | Bool[Tensor, ""]:
        """Update a layer's state; return whether its sums are finite, as a tensor while a GPU is at it."""
        state, skipped = self.states[layer], len(self.subject.prefix_ids)
        finite = self._take(state, activations, ids, self.plan, skipped=skipped)
        # What is not finite must not reach a file, so a block of whole activations waits for the answer.
        if not isinstance(finite, bool) and self.whole:
            finite = bool(finite)
        if finite is False:
            return False
        if self.whole:
            self.whole.add(layer, activations[:, skipped:], ids.start)
        for row, sequence in enumerate(ids):
            if sequence in self._random:
                state.random_vector[self._random[sequence]] = activations[row, skipped:]
        if neurons := self.plan.lookup_neurons.get(layer):
            held_out = [row for row, sequence in enumerate(ids) if sequence not in self._random]
            chosen = activations[:, skipped:, list(neurons)][held_out]
            self._look_up(state, chosen, places[held_out])
        return finite

    def settle(self) -> None:
        """Wait for what is under way; raises CaptureError for activations that are not finite."""
        flags = torch.stack([batch.finite for batch in self._pending]).cpu() if self._pending else ()
        pending, self._pending = self._pending, []
        for batch, finite in zip(pending, flags, strict=True):
            if not bool(finite):
                raise CaptureError(_located(batch.layer, self._again(batch), batch.ids))

    def _again(self, batch: _Taken) -> Float[Tensor, "sequence token neuron"]:
        """Run a batch again and return what one layer reads."""
        read: list[Tensor] = []
        site = {batch.layer: self.sites[batch.layer]}
        with reading(site, lambda _, values: read.append(values.clone()), stop=True):
            forward(self.subject.model, self._with_prefix(batch.tokens))
        values = read[0].reshape(len(batch.tokens), -1, read[0].shape[-1])
        return values[:, len(self.subject.prefix_ids) :].float()

    def _look_up(
        self,
        state: LayerState,
        activations: Float[Tensor, "sequence token chosen"],
        places: Int[Tensor, "sequence token"],
    ) -> None:
        """Add to the lookup sums, which count in whole units, so that no order of additions matters."""
        device = state.lookup_sum.device
        chosen = activations.flatten(0, 1).to(device).double()
        sides = [explained_side(chosen, side, self.plan.polarities) for side in self.plan.polarities]
        units = (torch.cat(sides, 1) / LOOKUP_UNIT).round().long()
        state.lookup_sum.index_add_(0, places.flatten().to(device), units)

    def _with_prefix(self, tokens: Int[Tensor, "sequence token"]) -> Int[Tensor, "sequence position"]:
        prefix = torch.tensor(self.subject.prefix_ids, dtype=torch.int64).expand(len(tokens), -1)
        return torch.cat([prefix, tokens], 1).to(self.subject.device)


def _step(name: str) -> Callable[..., bool | Bool[Tensor, ""]]:
    """Return the capture step of that name."""
    if name == "compiled":
        # Numba takes long to import, and is not needed where a GPU reduces.
        from neuroscribe.capture import kernel

        return kernel.take
    return {"batched": batched.take, "reference": reference.take}[name]


def _located(layer: int, activations: Float[Tensor, "sequence token neuron"], ids: range) -> str:
    """Say where the first value that is not finite stands."""
    bad = (~torch.isfinite(activations)).nonzero()
    if not len(bad):
        return (
            f"layer {layer}, sequences {ids.start} to {ids.stop - 1}: an activation was not finite, but all"
            " were when these sequences were run again; run the subject on another device or in another dtype"
        )
    sequence, position, neuron = (int(value) for value in bad[0])
    return (
        f"layer {layer}, neuron {neuron}, sequence {ids[sequence]}, position {position}: the activation is"
        f" {activations[sequence, position, neuron].item()}; run the subject in another dtype (study key"
        " subject.dtype) or leave the text out"
    )

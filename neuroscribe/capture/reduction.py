"""Turns batches of tokens into updates of the states, inside the hooks, while the subject runs."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.capture import batched, reference
from neuroscribe.capture.state import CapturePlan, LayerState, empty_state
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import CaptureError
from neuroscribe.subject.batch import read_batch, with_prefix
from neuroscribe.subject.hooks import check_sites, forward, reading
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.unit import Site

KernelName = Literal["auto", "compiled", "batched", "reference"]
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

    def begin(self, states: Mapping[int, LayerState]) -> None:
        """Start from these states of some layers, and of the others before any sequence."""
        self._pending, self.torn = [], False
        if self.whole:
            self.whole.begin_again()
        started = {**states, **self._empty_states(states)}
        self.states = {layer: started[layer].on(self._device) for layer in self.sites}

    def let_go(self) -> None:
        """Give up the states, and with them their memory."""
        self._pending, self.states = [], {}

    @property
    def stop(self) -> int:
        """The id after the last sequence that all layers have taken."""
        return min(state.stop for state in self.states.values())

    def check(self, first_sequence: Int[Tensor, "one token"]) -> None:
        """Check on the corpus' first sequence that the hooks read the neurons; raises CaptureError."""
        read = check_sites(self.subject.model, self.sites, with_prefix(self.subject, first_sequence))
        skipped = len(self.subject.prefix_ids)
        for layer, activations in read.items():
            self._first[layer] = activations.reshape(skipped + first_sequence.shape[1], -1)[skipped:].cpu()

    def _empty_states(self, begun: Container[int]) -> dict[int, LayerState]:
        """Return states before any sequence, for layers that have been checked and not begun.

        Sums are taken about the first activation of the corpus, rounded, so that shards on machines that
        differ in the last bits agree on it.
        """
        return {
            layer: empty_state(
                self.plan,
                neurons=values.shape[1],
                tokens=len(values),
                pivot=values[0].bfloat16().float().nan_to_num(0, 0, 0),
                dtype=torch.bfloat16 if values.dtype == torch.bfloat16 else torch.float32,
            )
            for layer, values in self._first.items()
            if layer not in begun
        }

    def take(self, tokens: Int[Tensor, "sequence token"], *, first: int) -> None:
        """Run one batch, whose first sequence has the id `first`.

        Layers that have taken sequences before pass over them. After a lack of memory, take the same
        sequences again in smaller batches; if it left the states torn, `begin` again before.
        """
        stop = first + len(tokens)
        needed = {layer: site for layer, site in self.sites.items() if self.states[layer].stop < stop}
        skipped = len(self.subject.prefix_ids)

        def reduce(layer: int, read: Float[Tensor, "sequence position neuron"]) -> None:
            taken = max(0, self.states[layer].stop - first)
            rest, ids = read.to(self._device)[taken:], range(first + taken, stop)
            self.torn = True
            finite = self._reduce(layer, rest, ids)
            self.torn = False
            if finite is False:
                raise CaptureError(located(layer, rest[:, skipped:].float(), ids))
            if finite is not True:
                self._pending.append(_Taken(layer, ids, tokens[taken:], finite))

        read_batch(self.subject, tokens, needed, reduce)

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
        return finite

    def settle(self) -> None:
        """Wait for what is under way; raises CaptureError for activations that are not finite."""
        flags = torch.stack([batch.finite for batch in self._pending]).cpu() if self._pending else ()
        pending, self._pending = self._pending, []
        for batch, finite in zip(pending, flags, strict=True):
            if not bool(finite):
                raise CaptureError(located(batch.layer, self._again(batch), batch.ids))

    def _again(self, batch: _Taken) -> Float[Tensor, "sequence token neuron"]:
        """Run a batch again and return what one layer reads."""
        read: list[Tensor] = []
        site = {batch.layer: self.sites[batch.layer]}
        with reading(site, lambda _, values: read.append(values.clone()), stop=True):
            forward(self.subject.model, with_prefix(self.subject, batch.tokens))
        values = read[0].reshape(len(batch.tokens), -1, read[0].shape[-1])
        return values[:, len(self.subject.prefix_ids) :].float()


def _step(name: str) -> Callable[..., bool | Bool[Tensor, ""]]:
    """Return the capture step of that name."""
    if name == "compiled":
        # Numba takes long to import, and is not needed where a GPU reduces.
        from neuroscribe.capture import kernel

        return kernel.take
    return {"batched": batched.take, "reference": reference.take}[name]


def located(
    layer: int,
    activations: Float[Tensor, "sequence token neuron"],
    ids: Sequence[int],
    neurons: Sequence[int] | None = None,
) -> str:
    """Say where the first value that is not finite stands; `neurons` are all of the layer unless given."""
    bad = (~torch.isfinite(activations)).nonzero()
    if not len(bad):
        return (
            f"layer {layer}, sequences {ids[0]} to {ids[-1]}: an activation was not finite, but all"
            " were when these sequences were run again; run the subject on another device or in another dtype"
        )
    sequence, position, place = (int(value) for value in bad[0])
    neuron = neurons[place] if neurons else place
    return (
        f"layer {layer}, neuron {neuron}, sequence {ids[sequence]}, position {position}: the activation is"
        f" {activations[sequence, position, place].item()}; run the subject in another dtype (study key"
        " subject.dtype) or leave the text out"
    )

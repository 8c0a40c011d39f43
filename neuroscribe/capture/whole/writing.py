"""Writes activations as they come out of a capture, a block of sequences per file."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuroscribe.capture.whole.blocks import (
    BLOCK_SEQUENCES,
    ERRORS,
    Activations,
    Form,
    Turned,
    block_count,
    block_path,
    stored_paths,
)
from neuroscribe.capture.whole.reading import holds, is_whole
from neuroscribe.errors import CaptureError
from neuroscribe.ports.stores import TensorStore

NEURONS_AT_ONCE = 64
"""Neurons rounded to uint8 together, few enough for their float32 copies to stay near a core."""


class WholeActivations:
    """Writes the activations of any number of layers, block by block, as batches of them come in.

    One block per layer is held in memory: neurons x `block` x tokens values of two bytes for `bf16`, and of
    the size in which they come for `uint8`, whose steps are known only when a block is full. The same
    activations give the same files, so a block may be written again.
    """

    def __init__(
        self,
        store: TensorStore,
        folder: str,
        form: Form,
        fingerprint: str,
        block: int = BLOCK_SEQUENCES,
    ) -> None:
        self._store, self._folder, self._fingerprint = store, folder, fingerprint
        self._form: Form = form
        self.block = block
        """Sequences per block."""
        self._blocks: dict[int, _Block] = {}

    def add(self, layer: int, activations: Activations, first: int) -> None:
        """Take the activations of the sequences from id `first` on, on any device; full blocks are written.

        A layer begins at the start of a block, 0 or where an interrupted capture goes on. Raises CaptureError
        for ids that are not the next ones and, with `uint8`, for activations that are not finite; StoreError
        where a file cannot be written.
        """
        # Inside a subject's pass all new tensors are inference tensors, which may not be changed outside.
        with torch.inference_mode():
            block = self._blocks.get(layer) or self._begun(layer, activations, first)
            if first != block.end:
                raise CaptureError(
                    f"layer {layer}: sequence {first} came where {block.end} was expected; add every sequence"
                    " once, in ascending order"
                )
            for part in _split(activations, self.block - block.held, self.block):
                block.take(part)
                if block.held == self.block:
                    self._write(layer, block)
                    block.first, block.held = block.end, 0

    def begin_again(self) -> None:
        """Drop what is held of blocks that are not full; each layer then begins at the start of a block."""
        self._blocks.clear()

    def holds(self, layer: int, ranges: Sequence[tuple[int, int]], sequences: int) -> bool:
        """Tell whether the blocks of the sequences in `ranges` are stored.

        For ranges that hold all `sequences` of the corpus, tell also whether no others are stored. Raises
        StoreError for a block that is damaged or torn.
        """
        if list(ranges) == [(0, sequences)]:
            return is_whole(self._store, self._folder, [layer], sequences, self._fingerprint, self.block)
        return all(
            holds(self._store, self._folder, layer, range(*ends), self._fingerprint, self.block)
            for ends in ranges
        )

    def finish(self, layer: int, sequences: int) -> None:
        """Write a layer's last, shorter block, and remove blocks that another capture left after it.

        `sequences` is the size of the whole corpus, of which this may have been a shard.
        """
        block = self._blocks.pop(layer, None)
        if block is not None and block.held:
            self._write(layer, block)
        # Files after the end would be taken for more sequences of this layer.
        after = block_path(self._folder, layer, block_count(sequences, self.block))
        for path in stored_paths(self._store, self._folder, layer):
            if path >= after:
                self._store.remove(path)

    def _begun(self, layer: int, activations: Activations, first: int) -> "_Block":
        if first % self.block:
            raise CaptureError(
                f"layer {layer}: the first sequence added is {first}, inside a block of {self.block}; begin"
                f" or go on at {first - first % self.block}"
            )
        _, tokens, neurons = activations.shape
        narrow = activations.dtype if activations.dtype.itemsize <= torch.float32.itemsize else torch.float32
        dtype = torch.bfloat16 if self._form == "bf16" else narrow
        self._blocks[layer] = _Block(torch.empty(neurons, self.block, tokens, dtype=dtype), first)
        return self._blocks[layer]

    def _write(self, layer: int, block: "_Block") -> None:
        values = block.values[:, : block.held]
        tensors = {"values": values} if self._form == "bf16" else _rounded(values, layer)
        metadata = {
            "fingerprint": self._fingerprint,
            "layer": str(layer),
            "form": self._form,
            "error": ERRORS[self._form],
            "first_sequence": str(block.first),
            "sequences": str(block.held),
            "block": str(self.block),
            "neurons": str(len(values)),
        }
        self._store.write(block_path(self._folder, layer, block.first // self.block), tensors, metadata)


@dataclass
class _Block:
    """The sequences of a layer that wait for their block to be full."""

    values: Turned
    """Memory of a whole block on the CPU, of which the first `held` sequences are filled."""
    first: int
    held: int = 0

    @property
    def end(self) -> int:
        """The id after the last sequence held."""
        return self.first + self.held

    def take(self, activations: Activations) -> None:
        """Put sequences behind those held; they are cast and turned where they are, then copied."""
        rows = activations.to(self.values.dtype).flatten(0, 1)
        # As a matrix: torch turns those tile by tile, five times as fast as it copies a permuted tensor.
        turned = rows.T.contiguous().reshape(-1, *activations.shape[:2])
        self.values[:, self.held : self.held + len(activations)] = turned
        self.held += len(activations)


def _split(activations: Activations, head: int, size: int) -> list[Tensor]:
    """Return a batch cut where blocks end: after `head` sequences, then after every `size`."""
    return [part for part in (activations[:head], *torch.split(activations[head:], size)) if len(part)]


def _rounded(values: Turned, layer: int) -> dict[str, Tensor]:
    """Return `values` in 256 steps per neuron, and each neuron's `low` and `step` in float32."""
    low, high = values.amin((1, 2)).float(), values.amax((1, 2)).float()
    step = (high - low) / 255
    if len(bad := (~torch.isfinite(step)).nonzero()):
        neuron = int(bad[0])
        raise CaptureError(
            f"layer {layer}, neuron {neuron}: its activations reach from {low[neuron].item()} to"
            f" {high[neuron].item()}, which has no 256 steps; keep them as bf16 (study key capture.whole) or"
            " run the subject in another dtype"
        )
    codes = torch.empty(values.shape, dtype=torch.uint8)
    for start in range(0, len(values), NEURONS_AT_ONCE):
        part = slice(start, start + NEURONS_AT_ONCE)
        codes[part] = _codes(values[part], low[part], step[part])
    return {"values": codes, "low": low, "step": step}


def _codes(
    values: Turned, low: Float[Tensor, " neuron"], step: Float[Tensor, " neuron"]
) -> UInt8[Tensor, "neuron sequence token"]:
    """Return the number of steps from `low` that comes closest to each value."""
    # A constant neuron, whose step is 0, is `low` throughout.
    divisor = torch.where(step > 0, step, 1)
    steps = (values.float() - low[:, None, None]).div_(divisor[:, None, None])
    return steps.round_().clamp_(0, 255).to(torch.uint8)

"""Keeps states between and after blocks of sequences, so that nothing finished is computed twice.

A file belongs to one fingerprint; files of another one are ignored and, in the end, overwritten or removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from neuroscribe.capture.state import LayerState
from neuroscribe.ports import TensorStore

CHECKPOINT_SEQUENCES = 1024
"""Sequences between checkpoints: about a minute of two CPU cores on a 135 M subject."""


@dataclass(frozen=True)
class Checkpoints:
    """The files of one capture, one per layer and point reached."""

    store: TensorStore
    folder: str
    fingerprint: str
    corpus: str = ""
    """Hash of the sequences, written beside the states for later stages to compare."""
    every: int = CHECKPOINT_SEQUENCES

    def path(self, layer: int, sequences: int | None = None) -> str:
        """Return the file of a layer's finished state, or of its state after `sequences`."""
        part = "" if sequences is None else f".after_{sequences}"
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def is_finished(self, layer: int) -> bool:
        """Tell whether the layer's finished state is there."""
        return self._state(self.path(layer)) is not None

    def finished(self, layers: Iterable[int]) -> dict[int, LayerState]:
        """Return the finished states among `layers`; checkpoints that a kill left beside them are dropped."""
        states = self._states(layers, None)
        for layer, state in states.items():
            self._drop(layer, (state.sequences - 1) // self.every * self.every)
        return states

    def resumed(self, layers: Iterable[int], total: int) -> dict[int, LayerState]:
        """Return the states of all layers at the furthest point that all have reached, or nothing."""
        wanted = set(layers)
        for done in range((total - 1) // self.every * self.every, 0, -self.every):
            if all(self.store.exists(self.path(layer, done)) for layer in wanted):
                states = self._states(wanted, done)
                if states.keys() == wanted:
                    return states
        return {}

    def save(self, states: Mapping[int, LayerState], *, done: int | None, dtype: torch.dtype) -> None:
        """Write all layers' states, then drop those of the block before; `done` is None when finished."""
        for layer, state in states.items():
            metadata = {
                "fingerprint": self.fingerprint,
                "corpus": self.corpus,
                "sequences": str(state.sequences),
            }
            self.store.write(self.path(layer, done), state.tensors(dtype), metadata)
        for layer, state in states.items():
            before = (state.sequences - 1) // self.every * self.every
            # A kill after writing and before dropping leaves one more.
            self._drop(layer, before)
            self._drop(layer, before - self.every)

    def _drop(self, layer: int, sequences: int) -> None:
        if sequences > 0:
            self.store.remove(self.path(layer, sequences))

    def _states(self, layers: Iterable[int], done: int | None) -> dict[int, LayerState]:
        found = {layer: self._state(self.path(layer, done)) for layer in sorted(layers)}
        return {layer: state for layer, state in found.items() if state is not None}

    def _state(self, path: str) -> LayerState | None:
        if not self.store.exists(path):
            return None
        tensors, metadata = self.store.read(path)
        if metadata.get("fingerprint") != self.fingerprint:
            return None
        return LayerState.restored(tensors, int(metadata["sequences"]))

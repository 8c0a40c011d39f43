"""Keeps states while and after a capture runs, so that nothing finished is computed twice.

A file belongs to one fingerprint; files of another one are ignored and, in the end, overwritten or removed.
States under way go to two places in turn, so that a kill while one is written leaves the other whole.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from neuroscribe.capture.state import LayerState
from neuroscribe.ports import TensorStore

_SHARD = re.compile(r"layer_(?P<layer>\d+)\.shard_\d+_of_(?P<count>\d+)\.")


@dataclass(frozen=True)
class Checkpoints:
    """The files of one capture or of one shard of it: one per layer, and two while it runs."""

    store: TensorStore
    folder: str
    fingerprint: str
    corpus: str = ""
    """Hash of the sequences, written beside the states for later stages to compare."""
    shard: str = ""
    """Names the shard in its files; empty for the whole corpus."""

    def of(self, index: int, count: int) -> "Checkpoints":
        """Return the files of one of `count` shards; the only shard is the whole."""
        return replace(self, shard=f".shard_{index}_of_{count}") if count > 1 else self

    def shards(self) -> int:
        """Return of how many shards some have been begun, the largest of several counts; 1 where none has."""
        counts = {1}
        for name in self.store.names(self.folder):
            found = _SHARD.match(name)
            if found and self._is_own(self.store.metadata(f"{self.folder}/{name}")):
                counts.add(int(found["count"]))
        return max(counts)

    def path(self, layer: int, place: int | None = None) -> str:
        """Return the file of a layer's finished state, or of one of the two places while it is under way."""
        part = self.shard + ("" if place is None else f".open_{place}")
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def is_finished(self, layer: int) -> bool:
        """Tell whether the layer's finished state is there."""
        return self._state(self.path(layer)) is not None

    def finished(self, layers: Iterable[int]) -> dict[int, LayerState]:
        """Return the finished states among `layers`; what a kill left beside them is dropped."""
        states = self._states(layers, None)
        for layer in states:
            self._drop(layer)
        return states

    def resumed(self, layers: Iterable[int]) -> tuple[dict[int, LayerState], int]:
        """Return the states of all layers from the place that is further on, if any, and the other place."""
        wanted = sorted(layers)
        best: dict[int, LayerState] = {}
        free = 0
        for place in (0, 1):
            states = self._states(wanted, place)
            alike = len({state.ranges for state in states.values()}) == 1
            if len(states) == len(wanted) and alike and _stop(states) > _stop(best):
                best, free = states, 1 - place
        return best, free

    def save(self, states: Mapping[int, LayerState], place: int) -> None:
        """Write all layers' states under way to one of the two places."""
        self._write(states, place)

    def finish(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' finished states, then drop those under way."""
        self._write(states, None)
        for layer in states:
            self._drop(layer)

    def drop_shards(self, layers: Iterable[int]) -> None:
        """Remove what there is of shards of these layers, whose whole states are written."""
        own = {f"{layer:02d}" for layer in layers}
        for name in self.store.names(self.folder):
            if (found := _SHARD.match(name)) and found["layer"] in own:
                self.store.remove(f"{self.folder}/{name}")

    def _write(self, states: Mapping[int, LayerState], place: int | None) -> None:
        for layer, state in states.items():
            metadata = {
                "fingerprint": self.fingerprint,
                "corpus": self.corpus,
                "ranges": ",".join(f"{first}-{stop}" for first, stop in state.ranges),
            }
            self.store.write(self.path(layer, place), state.tensors(), metadata)

    def _drop(self, layer: int) -> None:
        for place in (0, 1):
            self.store.remove(self.path(layer, place))

    def _states(self, layers: Iterable[int], place: int | None) -> dict[int, LayerState]:
        found = {layer: self._state(self.path(layer, place)) for layer in sorted(layers)}
        return {layer: state for layer, state in found.items() if state is not None}

    def _is_own(self, metadata: Mapping[str, str]) -> bool:
        return metadata.get("fingerprint") == self.fingerprint

    def _state(self, path: str) -> LayerState | None:
        if not self.store.exists(path):
            return None
        tensors, metadata = self.store.read(path)
        if not self._is_own(metadata):
            return None
        return LayerState.restored(tensors, read_ranges(metadata["ranges"]))


def _stop(states: Mapping[int, LayerState]) -> int:
    return max((state.stop for state in states.values()), default=0)


def read_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges that a file's metadata names."""
    pairs = (part.split("-") for part in text.split(",") if part)
    return tuple((int(first), int(stop)) for first, stop in pairs)

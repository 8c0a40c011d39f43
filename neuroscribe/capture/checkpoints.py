"""Keeps states while and after a capture runs, so that nothing finished is computed twice.

A file belongs to one fingerprint; files of another one are ignored and, in the end, overwritten or removed.
States under way go to two places in turn, so that a kill while one is written leaves the other whole.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from neuroscribe.capture.state import LayerState
from neuroscribe.errors import StoreError
from neuroscribe.ports import TensorStore

_STATE = re.compile(r"layer_(?P<layer>\d+)(\.shard_\d+_of_(?P<count>\d+))?(\.open_[01])?\.safetensors")


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
        """Return into how many shards the capture has been cut, 1 where it has not been begun.

        Of several counts it is the one with which most sequences have been captured.
        """
        captured = {1: 0}
        for name in self.store.names(self.folder):
            metadata = self._metadata(f"{self.folder}/{name}")
            if (found := _STATE.fullmatch(name)) and self._is_own(metadata):
                count = int(found["count"] or 1)
                captured[count] = captured.get(count, 0) + _size(metadata)
        return max(captured, key=lambda count: (captured[count], -count))

    def path(self, layer: int, place: int | None = None) -> str:
        """Return the file of a layer's finished state, or of one of the two places while it is under way."""
        part = self.shard + ("" if place is None else f".open_{place}")
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def is_finished(self, layer: int) -> bool:
        """Tell whether the layer's finished state is there."""
        return self._is_own(self._metadata(self.path(layer)))

    def finished(self, layers: Iterable[int]) -> dict[int, LayerState]:
        """Return the finished states among `layers`; what a kill left beside them is dropped."""
        states = self._states([layer for layer in sorted(layers) if self.is_finished(layer)], None)
        for layer in states:
            for place in (0, 1):
                if self._is_own(self._metadata(path := self.path(layer, place))):
                    self.store.remove(path)
        return states

    def resumed(self, layers: Iterable[int]) -> tuple[dict[int, LayerState], int]:
        """Return the states of all layers from the place that is further on, if any, and the other place."""
        wanted = sorted(layers)
        best, stops = 0, [0, 0]
        for place in (0, 1):
            found = [self._metadata(self.path(layer, place)) for layer in wanted]
            if all(self._is_own(one) for one in found) and len({one["ranges"] for one in found}) == 1:
                stops[place] = read_ranges(found[0]["ranges"])[-1][1]
        best = 0 if stops[0] >= stops[1] else 1
        return (self._states(wanted, best) if stops[best] else {}), (1 - best if stops[best] else 0)

    def save(self, states: Mapping[int, LayerState], place: int) -> None:
        """Write all layers' states under way to one of the two places."""
        self._write(states, place)

    def finish(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' finished states, then drop those under way."""
        self._write(states, None)
        for layer in states:
            for place in (0, 1):
                self.store.remove(self.path(layer, place))

    def drop_shards(self, layers: Iterable[int]) -> None:
        """Remove what there is of this capture's shards of these layers, whose whole states are written."""
        own = {f"{layer:02d}" for layer in layers}
        for name in self.store.names(self.folder):
            found, path = _STATE.fullmatch(name), f"{self.folder}/{name}"
            if found and found["count"] and found["layer"] in own and self._is_own(self._metadata(path)):
                self.store.remove(path)

    def _write(self, states: Mapping[int, LayerState], place: int | None) -> None:
        for layer, state in states.items():
            metadata = {
                "fingerprint": self.fingerprint,
                "corpus": self.corpus,
                "ranges": ",".join(f"{first}-{stop}" for first, stop in state.ranges),
            }
            self.store.write(self.path(layer, place), state.tensors(), metadata)

    def _states(self, layers: Iterable[int], place: int | None) -> dict[int, LayerState]:
        found: dict[int, LayerState] = {}
        for layer in layers:
            tensors, metadata = self.store.read(self.path(layer, place))
            found[layer] = LayerState.restored(tensors, read_ranges(metadata["ranges"]))
        return found

    def _is_own(self, metadata: Mapping[str, str]) -> bool:
        return metadata.get("fingerprint") == self.fingerprint

    def _metadata(self, path: str) -> Mapping[str, str]:
        """Return what is said of a file; nothing where there is none, or another process has removed it."""
        try:
            return self.store.metadata(path) if self.store.exists(path) else {}
        except StoreError:
            if self.store.exists(path):
                raise
            return {}


def _size(metadata: Mapping[str, str]) -> int:
    return sum(stop - first for first, stop in read_ranges(metadata["ranges"]))


def read_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges that a file's metadata names."""
    pairs = (part.split("-") for part in text.split(",") if part)
    return tuple((int(first), int(stop)) for first, stop in pairs)

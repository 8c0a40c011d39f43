"""Keeps states while and after a capture runs, so that nothing finished is computed twice.

A file belongs to one fingerprint; files of another one are ignored and, in the end, overwritten or removed.
A layer has one file while it is under way, which each checkpoint replaces at once or not at all. Every layer
goes on from its own: layers may be resumed in any selection, and a kill between two layers' files is one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from neuroscribe.capture.state import LayerState
from neuroscribe.errors import StoreError
from neuroscribe.ports import TensorStore

_STATE = re.compile(r"layer_(?P<layer>\d+)(\.shard_\d+_of_(?P<count>\d+))?(?P<open>\.open)?\.safetensors")


@dataclass(frozen=True)
class Checkpoints:
    """The files of one capture or of one shard of it: one per layer, and another while it runs."""

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

    def shards(self, layers: Iterable[int]) -> dict[int, list[int]]:
        """Return into how many shards the layers have been cut, as the layers of each count.

        Of several counts a layer has the one with which most of its sequences have been captured. Finished
        layers, and those not begun, go with the count that most layers have: with 1, if there is none.
        """
        begun = self._begun()
        own = {layer: max(found, key=lambda count: (found[count], -count)) for layer, found in begun.items()}
        wanted = sorted(layers)
        counts = Counter(own[layer] for layer in wanted if layer in own)
        usual = max(counts, key=lambda count: (counts[count], -count), default=1)
        found: dict[int, list[int]] = {}
        for layer in wanted:
            found.setdefault(own.get(layer, usual), []).append(layer)
        return found

    def _begun(self) -> dict[int, Counter[int]]:
        """Return how many sequences each layer that is under way has taken, by number of shards."""
        found: dict[int, Counter[int]] = {}
        finished: set[int] = set()
        for name in self.store.names(self.folder):
            parts, metadata = _STATE.fullmatch(name), self._metadata(f"{self.folder}/{name}")
            if parts and self._is_own(metadata):
                layer, count = int(parts["layer"]), parts["count"]
                found.setdefault(layer, Counter())[int(count or 1)] += _size(metadata)
                finished |= {layer} if not count and not parts["open"] else set()
        return {layer: sizes for layer, sizes in found.items() if layer not in finished}

    def path(self, layer: int, *, under_way: bool = False) -> str:
        """Return the file of a layer's finished state, or of the one under way."""
        part = self.shard + (".open" if under_way else "")
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def is_finished(self, layer: int) -> bool:
        """Tell whether the layer's finished state is there."""
        return self._is_own(self._metadata(self.path(layer)))

    def finished(self, layers: Iterable[int]) -> dict[int, LayerState]:
        """Return the finished states among `layers`; what a kill left beside them is dropped."""
        states = self._states(layers, under_way=False)
        for layer in states:
            if self._is_own(self._metadata(path := self.path(layer, under_way=True))):
                self.store.remove(path)
        return states

    def resumed(self, layers: Iterable[int]) -> dict[int, LayerState]:
        """Return the states under way among `layers`, each as far as its last checkpoint."""
        return self._states(layers, under_way=True)

    def save(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' states under way."""
        self._write(states, under_way=True)

    def finish(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' finished states, then drop those under way."""
        self._write(states, under_way=False)
        for layer in states:
            self.store.remove(self.path(layer, under_way=True))

    def drop_shards(self, layers: Iterable[int]) -> None:
        """Remove what there is of this capture's shards of these layers, whose whole states are written."""
        own = {f"{layer:02d}" for layer in layers}
        for name in self.store.names(self.folder):
            found, path = _STATE.fullmatch(name), f"{self.folder}/{name}"
            if found and found["count"] and found["layer"] in own and self._is_own(self._metadata(path)):
                self.store.remove(path)

    def _write(self, states: Mapping[int, LayerState], *, under_way: bool) -> None:
        for layer, state in states.items():
            metadata = {
                "fingerprint": self.fingerprint,
                "corpus": self.corpus,
                "ranges": ",".join(f"{first}-{stop}" for first, stop in state.ranges),
            }
            self.store.write(self.path(layer, under_way=under_way), state.tensors(), metadata)

    def _states(self, layers: Iterable[int], *, under_way: bool) -> dict[int, LayerState]:
        found: dict[int, LayerState] = {}
        for layer in sorted(layers):
            if self._is_own(self._metadata(path := self.path(layer, under_way=under_way))):
                tensors, metadata = self.store.read(path)
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

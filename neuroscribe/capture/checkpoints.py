"""Keeps states while and after a capture runs, so that nothing finished is computed twice.

A file belongs to one fingerprint; files of another one are ignored and, in the end, overwritten or removed.
A layer has one file while it is under way, which each checkpoint replaces at once or not at all. Every layer
goes on from its own file: layers may be resumed in any selection, and a kill may come between two files.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from neuroscribe.capture.state import LayerState
from neuroscribe.capture.whole.blocks import AGAIN
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import Progress, TensorStore

_STATE = re.compile(
    r"layer_(?P<layer>[0-9]{2,6})(?P<shard>\.shard_[0-9]{1,9}_of_(?P<count>[0-9]{1,9}))?(?P<open>\.open)?"
    r"\.safetensors"
)
_RANGES = re.compile(r"([0-9]{1,15}-[0-9]{1,15}(,[0-9]{1,15}-[0-9]{1,15})*)?")


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
        """Return the layers that have been cut into each number of shards.

        A layer that was begun with several numbers has the one by which most of its sequences were captured.
        Finished layers, and those not begun, go with the number that most layers have, or with 1.
        """
        wanted = sorted(layers)
        begun = self._begun(wanted)
        count_of = {layer: max(taken, key=lambda n: (taken[n], -n)) for layer, taken in begun.items()}
        layers_by_count = Counter(count_of.values())
        usual = max(layers_by_count, key=lambda n: (layers_by_count[n], -n), default=1)
        cut: dict[int, list[int]] = {}
        for layer in wanted:
            cut.setdefault(count_of.get(layer, usual), []).append(layer)
        return cut

    def _begun(self, layers: Iterable[int]) -> dict[int, Counter[int]]:
        """Return how many sequences each layer that is under way has taken, by number of shards."""
        begun: dict[int, Counter[int]] = {}
        finished: set[int] = set()
        for path, parts in self._files(layers):
            if self._is_own(metadata := self._metadata(path)):
                layer, count = int(parts["layer"]), parts["count"]
                taken = sum(stop - first for first, stop in stored_ranges(path, metadata))
                begun.setdefault(layer, Counter())[int(count or 1)] += taken
                finished |= {layer} if not count and not parts["open"] else set()
        return {layer: sizes for layer, sizes in begun.items() if layer not in finished}

    def _files(self, layers: Iterable[int]) -> list[tuple[str, re.Match[str]]]:
        """Return path and name of the layers' states; others' files are left alone."""
        wanted = {f"{layer:02d}" for layer in layers}
        names = ((name, _STATE.fullmatch(name)) for name in self.store.names(self.folder))
        return [
            (f"{self.folder}/{name}", parts) for name, parts in names if parts and parts["layer"] in wanted
        ]

    def taken(self, layer: int) -> dict[str, tuple[tuple[int, int], ...]]:
        """Return which sequences each state of a layer has taken, finished or not, by its file.

        A capture of one shard has the states of that shard alone, a capture of the whole has all.
        """
        taken: dict[str, tuple[tuple[int, int], ...]] = {}
        for path, parts in self._files([layer]):
            if self.shard in ("", parts["shard"]) and self._is_own(metadata := self._metadata(path)):
                taken[path] = stored_ranges(path, metadata)
        return taken

    def path(self, layer: int, *, under_way: bool = False) -> str:
        """Return the file of a layer's finished state, or of the one under way."""
        part = self.shard + (".open" if under_way else "")
        return f"{self.folder}/layer_{layer:02d}{part}.safetensors"

    def is_finished(self, layer: int) -> bool:
        """Tell whether the layer's finished state is there."""
        return self._is_own(self._metadata(self.path(layer)))

    def finished(self, layers: Iterable[int], sequences: range) -> dict[int, LayerState]:
        """Return the finished states among `layers`, and drop what a kill has left beside them.

        Raises StoreError for one that is of another layer or has not taken these `sequences`.
        """
        states = self._states(layers, sequences, under_way=False)
        for layer in states:
            if self._is_own(self._metadata(path := self.path(layer, under_way=True))):
                self.store.remove(path)
        return states

    def resumed(self, layers: Iterable[int], sequences: range) -> dict[int, LayerState]:
        """Return the states under way among `layers`, each as far as its last checkpoint.

        Raises StoreError for one that is of another layer or has taken others than the first `sequences`.
        """
        return self._states(layers, sequences, under_way=True)

    def save(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' states under way."""
        self._write(states, under_way=True)

    def finish(self, states: Mapping[int, LayerState]) -> None:
        """Write all layers' finished states, then drop those under way."""
        self._write(states, under_way=False)
        for layer in states:
            self.store.remove(self.path(layer, under_way=True))

    def drop_shards(self, layers: Iterable[int]) -> None:
        """Remove all shards of these layers that this capture wrote; their whole states must be written."""
        for path, parts in self._files(layers):
            if parts["count"] and self._is_own(self._metadata(path)):
                self.store.remove(path)

    def _write(self, states: Mapping[int, LayerState], *, under_way: bool) -> None:
        for layer, state in states.items():
            metadata = {
                "fingerprint": self.fingerprint,
                "corpus": self.corpus,
                "layer": str(layer),
                "ranges": ",".join(f"{first}-{stop}" for first, stop in state.ranges),
            }
            self.store.write(self.path(layer, under_way=under_way), state.tensors(), metadata)

    def _states(self, layers: Iterable[int], sequences: range, *, under_way: bool) -> dict[int, LayerState]:
        states: dict[int, LayerState] = {}
        for layer in sorted(layers):
            if self._is_own(self._metadata(path := self.path(layer, under_way=under_way))):
                tensors, metadata = self.store.read(path)
                states[layer] = restored_state(
                    path, tensors, metadata, layer=layer, sequences=sequences, under_way=under_way
                )
        return states

    def _is_own(self, metadata: Mapping[str, str]) -> bool:
        return metadata.get("fingerprint") == self.fingerprint

    def _metadata(self, path: str) -> Mapping[str, str]:
        """Return a file's metadata; empty where there is no file, or another process has removed it."""
        try:
            return self.store.metadata(path) if self.store.exists(path) else {}
        except StoreError:
            if self.store.exists(path):
                raise
            return {}


def restored_state(
    path: str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    layer: int,
    sequences: range,
    under_way: bool = False,
) -> LayerState:
    """Return the state of a layer that a file holds; raises StoreError where it holds something else.

    It must have taken the `sequences` or, under way, the first of them.
    """
    ranges = stored_ranges(path, metadata)
    # Files of older versions do not name their layer.
    if (named := metadata.get("layer", str(layer))) != str(layer):
        raise StoreError(f"{path}: holds the state of layer {named[:40]}, not of layer {layer}; {AGAIN}")
    stop = min(ranges[-1][1], sequences.stop) if ranges and under_way else sequences.stop
    if ranges != ((sequences.start, stop),):
        raise StoreError(
            f"{path}: has taken the sequences {metadata['ranges'][:40]}, not {sequences.start}-{stop} as its"
            f" name says; {AGAIN}"
        )
    if set(tensors) != LayerState.tensor_names():
        raise StoreError(f"{path}: holds other tensors than a state has; {AGAIN}")
    return LayerState.restored(tensors, ranges)


def stored_ranges(path: str, metadata: Mapping[str, str]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of sequences that a file says its state has taken.

    Raises StoreError for a text that is no ranges.
    """
    text = metadata.get("ranges", "nothing")
    if _RANGES.fullmatch(text):
        pairs = (part.split("-") for part in text.split(",") if part)
        ranges = tuple((int(first), int(stop)) for first, stop in pairs)
        ends = [end for pair in ranges for end in pair]
        if ends == sorted(set(ends)):
            return ranges
    raise StoreError(
        f"{path}: of the sequences it has taken it says {text[:40]!r}, which are no ranges; {AGAIN}"
    )


def dropped_without_blocks(
    files: Checkpoints,
    layers: Sequence[int],
    whole: WholeActivations | None,
    *,
    sequences: int,
    progress: Progress,
) -> tuple[int, ...]:
    """Remove states, finished or not, that took sequences whose block is missing; return their layers.

    `sequences` is the size of the corpus. Without `whole` no block is needed. A capture then takes these
    layers, or their shards, from the beginning. Raises StoreError for a block that is damaged or torn, which
    is for the user to remove.
    """
    if whole is None:
        return ()
    if not (taken := {layer: states for layer in sorted(layers) if (states := files.taken(layer))}):
        return ()
    dropped: list[int] = []
    with progress.task("look for whole activations", total=len(taken), unit="layers") as advance:
        for layer, states in taken.items():
            gone = [path for path, ranges in states.items() if not whole.holds(layer, ranges, sequences)]
            for path in gone:
                files.store.remove(path)
            dropped += [layer] if gone else []
            note = f"layer {layer}: whole activations are missing; it is captured anew"
            advance(1, note=note if gone else "")
    return tuple(dropped)

"""Frames on their way between assets and the store, one layer's in memory at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl


class MadeLayer(NamedTuple):
    """One layer's frame."""

    key: str
    """Of the layer: `layer_00` ..."""
    frame: pl.DataFrame
    provenance: Mapping[str, object] = {}
    """What its file says beside what the stage declares: the model that made its rows, as it ran."""


class MadeLayers:
    """Frames of layers, each made only when the store asks for it, and the hash of each as it was stored."""

    def __init__(self, frames: Iterable[MadeLayer]) -> None:
        self._frames = frames
        self.contents: dict[str, str] = {}
        """By layer's key what its file says of its rows (`neuroscribe.tables.parquet.Stamp.content`)."""

    def __iter__(self) -> Iterator[MadeLayer]:
        """Make the frames, one after the other."""
        return iter(self._frames)


class LayerFrames(Mapping[str, pl.DataFrame]):
    """Stored frames by layer's key, each read anew whenever it is asked for."""

    def __init__(self, read: Callable[[str], pl.DataFrame], keys: Iterable[str]) -> None:
        self._read, self._keys = read, tuple(keys)

    def __getitem__(self, key: str) -> pl.DataFrame:
        """Read a layer's frame; raises KeyError for a layer that is not among them."""
        if key not in self._keys:
            raise KeyError(key)
        return self._read(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the layers' keys, ascending."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return how many layers there are."""
        return len(self._keys)

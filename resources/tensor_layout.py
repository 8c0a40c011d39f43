"""Where tensors lie in a safetensors file: eight bytes of header length, a header in JSON, then tensors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LENGTH_BYTES = 8
"""A file starts with the length of its header as a little-endian integer of this size."""


def header_end(data: bytes) -> int:
    """Return where the header of a file ends and its tensors begin, in bytes; `data` is the file's start."""
    return LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")


def header(data: bytes) -> bytes:
    """Return the header of a file, in JSON; `data` is the file's start."""
    return data[LENGTH_BYTES : header_end(data)]


@dataclass(frozen=True)
class Layout:
    """What the header of one file says."""

    metadata: dict[str, str]
    entries: dict[str, dict[str, Any]]
    """Per tensor its `dtype`, `shape` and `data_offsets`, in bytes after the header."""
    end: int
    """Where the header ends."""

    @classmethod
    def of(cls, data: bytes) -> "Layout":
        """Read a file's start; raises ValueError when `data` is no whole header."""
        if len(data) < header_end(data):
            raise ValueError("its header is cut off")
        entries = json.loads(header(data))
        return cls(entries.pop("__metadata__", {}), entries, header_end(data))

    def span(self, name: str, rows: slice) -> tuple[int, int]:
        """Return where rows of a tensor start and stop in the file, in bytes; they lie in one piece.

        Raises ValueError for a tensor that the file lacks.
        """
        if name not in self.entries:
            raise ValueError(f"it holds no tensor {name!r}")
        start, stop = self.entries[name]["data_offsets"]
        first, count = self._rows(name, rows)
        row = (stop - start) // max(1, (self.entries[name]["shape"] or [1])[0])
        return self.end + start + first * row, self.end + start + (first + count) * row

    def tensors(self, rows: Mapping[str, slice], data: Sequence[bytes]) -> "dict[str, Tensor]":
        """Return rows of some tensors from the bytes of their spans, in the same order.

        The library reads them as what they are then: a file of fewer rows.
        """
        from safetensors.torch import load

        entries: dict[str, dict[str, Any]] = {}
        offset = 0
        for (name, own), piece in zip(rows.items(), data, strict=True):
            shape = self.entries[name]["shape"]
            fewer = [self._rows(name, own)[1], *shape[1:]] if shape else []
            entries[name] = self.entries[name] | {
                "shape": fewer,
                "data_offsets": [offset, offset := offset + len(piece)],
            }
        text = json.dumps(entries).encode()
        return load(b"".join([len(text).to_bytes(LENGTH_BYTES, "little"), text, *data]))

    def _rows(self, name: str, rows: slice) -> tuple[int, int]:
        """Return the first row and the number of rows that a slice takes, all for a tensor without rows."""
        start, stop, step = rows.indices((self.entries[name]["shape"] or [1])[0])
        assert step == 1, "parts of tensors have no steps"
        return start, max(0, stop - start)

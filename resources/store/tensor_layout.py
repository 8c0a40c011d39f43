"""Where tensors lie in a safetensors file: eight bytes of header length, a header in JSON, then tensors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor

LENGTH_BYTES = 8
"""A file starts with the length of its header as a little-endian integer of this size."""

LONGEST_HEADER = 100_000_000
"""Bytes; the library reads no longer header either."""
_ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}


def header_end(data: bytes) -> int:
    """Return where the header of a file ends and its tensors begin, in bytes; `data` is the file's start."""
    return LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")


def checked_header_end(data: bytes) -> int:
    """Return the same for a file that may be any; raises ValueError where no header can end there."""
    end = header_end(data)
    if end > LENGTH_BYTES + LONGEST_HEADER:
        length = end - LENGTH_BYTES
        raise ValueError(f"its first bytes promise a header of {length} bytes, and none is so long")
    return end


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
        """Read a file's start; raises ValueError when `data` begins with no whole and sound header."""
        if len(data) < max(LENGTH_BYTES, checked_header_end(data)):
            raise ValueError("its header is cut off")
        entries = _entries(header(data))
        metadata = entries.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
            raise ValueError("its metadata are no texts by name")
        _check_tensors(entries)
        return cls(cast(dict[str, str], metadata), entries, header_end(data))

    def check_size(self, size: int) -> None:
        """Raise ValueError unless a file of that many bytes holds the tensors, and nothing else."""
        wanted = max((entry["data_offsets"][1] for entry in self.entries.values()), default=0) + self.end
        if size != wanted:
            raise ValueError(f"it has {size} bytes, and its header says {wanted}")

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
        for (name, some), piece in zip(rows.items(), data, strict=True):
            shape = self.entries[name]["shape"]
            fewer = [self._rows(name, some)[1], *shape[1:]] if shape else []
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


def _entries(text: bytes) -> dict[str, Any]:
    """Return what a header holds, by name; raises ValueError where it is no JSON object."""
    try:
        entries = json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("its header is nested without end") from error
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    return cast(dict[str, Any], entries)


def _check_tensors(entries: Mapping[str, Any]) -> None:
    """Raise ValueError unless each tensor takes the bytes its shape needs, one right after the other."""
    spans = sorted(_span(name, entry) for name, entry in entries.items())
    end = 0
    for start, stop in spans:
        if start != end:
            raise ValueError(f"by its header, a tensor begins at byte {start} where {end} was expected")
        end = stop


def _span(name: str, entry: object) -> tuple[int, int]:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
            whole = all(isinstance(length, int) and length >= 0 for length in shape)
            if whole and dtype in _ITEM_BYTES and stop - start == _ITEM_BYTES[dtype] * prod(shape):
                return start, stop
        case _:
            pass
    raise ValueError(f"its header does not say soundly where tensor {name[:40]!r} lies")

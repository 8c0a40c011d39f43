"""Writes safetensors files whose metadata are in order: the library's own order differs from run to run."""

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resources.tensor_layout import LENGTH_BYTES, header, header_end

if TYPE_CHECKING:
    from torch import Tensor


def in_order(data: bytes) -> bytes:
    """Return a file with its metadata sorted; safetensors writes them in an order that changes per run."""
    return data[:LENGTH_BYTES] + _sorted_header(header(data)) + data[header_end(data) :]


def save_in_order(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
    """Write a file without holding its bytes in memory, then put its metadata in order."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode  # safetensors would leave the file to its owner alone
    try:
        save_file(dict(tensors), path, dict(metadata))
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error
    path.chmod(mode)
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        ordered = _sorted_header(file.read(length))
        file.seek(LENGTH_BYTES)
        file.write(ordered)


def _sorted_header(text: bytes) -> bytes:
    """Return a header of the same length with its metadata sorted by key."""
    entries = json.loads(text)
    if "__metadata__" in entries:
        entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    ordered = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(ordered) <= len(text), "safetensors wrote a shorter header than the same JSON takes here"
    return ordered.ljust(len(text))

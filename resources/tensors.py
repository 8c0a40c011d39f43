"""Named tensors in safetensors files, below a local folder or an `s3://` prefix.

The same tensors and metadata give the same bytes. Tensors come back on the CPU.
"""

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from neuroscribe.errors import StoreError
from resources.files import Files

if TYPE_CHECKING:
    from torch import Tensor


class SafetensorFiles:
    """Fulfils the port `TensorStore`; paths are relative to the root."""

    def __init__(self, root: str, *, endpoint_url: str | None = None) -> None:
        self._files = Files(root, endpoint_url=endpoint_url)

    def exists(self, path: str) -> bool:
        """Tell whether a file is there, whole."""
        return self._files.exists(path)

    def write(self, path: str, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> int:
        """Write a file atomically and return its size in bytes."""
        from safetensors.torch import save

        plain = {name: tensors[name].detach().contiguous().cpu() for name in sorted(tensors)}
        if not self._files.is_local:
            return self._files.write(path, _in_order(save(plain, dict(metadata))))
        self._files.write_by(path, lambda file: _save(file, plain, metadata))
        return self._files.local_path(path).stat().st_size

    def read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        """Return the tensors and the metadata of a file; raises StoreError when it is absent or torn."""
        from safetensors import SafetensorError

        where = self._files.path(path)
        try:
            return self._read(path)
        except FileNotFoundError as error:
            raise StoreError(f"{where}: is not there; materialise the asset that writes it first") from error
        except SafetensorError as error:
            raise StoreError(
                f"{where}: not a whole safetensors file ({error}); remove it and materialise it again"
            ) from error

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        self._files.remove(path)

    def _read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        from safetensors import safe_open
        from safetensors.torch import load

        if not self._files.is_local:
            data = self._files.read(path)
            return load(data), json.loads(_header(data)).get("__metadata__", {})
        with safe_open(self._files.local_path(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - the file is no mapping


class Tensors(dg.ConfigurableResource):
    """The tensors of all studies, as a resource; fulfils the port `TensorStore`."""

    root: str
    """A local folder or `s3://bucket/prefix`."""
    endpoint_url: str | None = None
    """An S3-compatible server other than AWS."""

    def exists(self, path: str) -> bool:
        """Tell whether a file is there, whole."""
        return self._store.exists(path)

    def write(self, path: str, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> int:
        """Write a file atomically and return its size in bytes."""
        return self._store.write(path, tensors, metadata)

    def read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        """Return the tensors and the metadata of a file."""
        return self._store.read(path)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        self._store.remove(path)

    @property
    def _store(self) -> SafetensorFiles:
        return SafetensorFiles(self.root, endpoint_url=self.endpoint_url)


LENGTH_BYTES = 8
"""A safetensors file starts with the length of its JSON header as a little-endian integer of this size."""


def _header(data: bytes) -> bytes:
    return data[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")]


def _in_order(data: bytes) -> bytes:
    """Return a file with its metadata sorted; safetensors writes them in an order that changes per run."""
    header = _sorted_header(_header(data))
    return data[:LENGTH_BYTES] + header + data[LENGTH_BYTES + len(header) :]


def _save(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
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
        header = _sorted_header(file.read(length))
        file.seek(LENGTH_BYTES)
        file.write(header)


def _sorted_header(header: bytes) -> bytes:
    """Return a header of the same length with its metadata sorted by key."""
    entries = json.loads(header)
    if "__metadata__" in entries:
        entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(text) <= len(header), "safetensors wrote a shorter header than the same JSON takes here"
    return text.ljust(len(header))

"""Named tensors in safetensors files, below a local folder or an `s3://` prefix.

The same tensors and metadata give the same bytes. Tensors come back on the CPU. Every file carries a checksum
(CRC-32) of its tensors and metadata, checked whenever it is read whole; parts of a file cannot be checked.
"""

import errno
import json
import re
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neuroscribe.errors import StoreError
from resources.store.files import Files, Stored, store_errors
from resources.store.outages import unreplaced
from resources.store.tensor_layout import LENGTH_BYTES, Layout, checked_header_end, header, header_end

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


FIRST_BYTES = 4096
"""Read first of a file of which parts are wanted: enough for the headers written here, and one disk page."""
CHECKSUM = "crc32"
"""Key of the checksum among a file's metadata; callers do not see it."""


class SafetensorFiles:
    """Fulfils the port `TensorStore`; paths are relative to the root."""

    def __init__(self, root: str, *, endpoint_url: str | None = None) -> None:
        self.root, self.endpoint_url = root, endpoint_url

    @property
    def _files(self) -> Files:
        return Files(self.root, endpoint_url=self.endpoint_url)

    def exists(self, path: str) -> bool:
        """Tell whether a file is there, whole."""
        return self._files.exists(path)

    def write(self, path: str, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> int:
        """Write a file atomically and return its size in bytes."""
        from safetensors.torch import save

        plain = {name: tensors[name].detach().contiguous().cpu() for name in sorted(tensors)}
        metadata = {**metadata, CHECKSUM: _checksum(plain, metadata)}
        if not self._files.is_local:
            return self._files.write(path, in_order(save(plain, metadata)))
        self._files.write_by(path, lambda file: save_in_order(file, plain, metadata))
        return self._files.local_path(path).stat().st_size

    def read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        """Return the tensors and the metadata of a file.

        Raises StoreError when it is absent or torn, or has changed since it was written.
        """
        with self._explained(path):
            tensors, metadata = self._read(path)
            wanted, given = metadata.get(CHECKSUM), _without_checksum(metadata)
            if wanted is not None and wanted != _checksum(tensors, given):
                raise StoreError(
                    f"{self._files.path(path)}: its bytes have changed since it was written (the checksum in"
                    " it is that of others); check the disk, remove the file and materialise it again"
                )
            return tensors, given

    def metadata(self, path: str) -> dict[str, str]:
        """Return the metadata of a file without reading its tensors.

        Raises StoreError when the file is absent or torn; a change of its bytes goes unseen.
        """
        [(_, metadata)] = self.read_parts([path], {})
        return metadata

    def read_parts(
        self, paths: Sequence[str], parts: "Mapping[str, tuple[slice, ...]]"
    ) -> "list[tuple[dict[str, Tensor], dict[str, str]]]":
        """Return `tensor[slices]` of the tensors named in `parts`, and the metadata, of each file.

        It reads the header, and the rows that each first slice takes in one piece. Further slices spare
        reading on a local disk alone; on S3 every gap would be a request more. Raises StoreError for a file
        that is absent or torn, and for a tensor that it lacks. A change of its bytes goes unseen; so does a
        torn end where the rows that are read lie before it.
        """
        if self._files.is_local and any(len(slices) > 1 for slices in parts.values()):
            return [self._sliced(path, parts) for path in paths]
        with self._explained():
            return unreplaced(lambda: self._parts(paths, parts))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none for a folder that is not there."""
        return self._files.names(folder)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        self._files.remove(path)

    def _read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        from safetensors import safe_open
        from safetensors.torch import load

        if not self._files.is_local:
            data = self._files.read(path)
            return load(data), Layout.of(data).metadata
        with safe_open(self._files.local_path(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - the file is no mapping

    def _sliced(
        self, path: str, parts: "Mapping[str, tuple[slice, ...]]"
    ) -> "tuple[dict[str, Tensor], dict[str, str]]":
        from safetensors import safe_open

        with self._explained(path), safe_open(self._files.local_path(path), framework="pt") as file:
            tensors = {name: file.get_slice(name)[index] for name, index in parts.items()}
            return tensors, _without_checksum(file.metadata() or {})

    def _parts(
        self, paths: Sequence[str], parts: "Mapping[str, tuple[slice, ...]]"
    ) -> "list[tuple[dict[str, Tensor], dict[str, str]]]":
        """Return parts of each file; raises ReplacedError where its header is of another version."""
        versions: dict[str, str] = {}
        layouts = self._layouts(paths, versions)
        rows = {name: slices[0] if slices else slice(None) for name, slices in parts.items()}
        return [
            (
                {name: _cut(tensors[name], slices) for name, slices in parts.items()},
                _without_checksum(layout.metadata),
            )
            for tensors, layout in zip(self._rows(paths, layouts, rows, versions), layouts, strict=True)
        ]

    def _layouts(self, paths: Sequence[str], versions: dict[str, str]) -> list[Layout]:
        """Return what the files' headers say; on S3 all are asked for together."""
        starts = self._files.read_ranges([(path, 0, FIRST_BYTES) for path in paths], versions)
        ends: list[int] = []
        for path, start in zip(paths, starts, strict=True):
            with self._explained(path):
                ends.append(checked_header_end(start))
        longer = [(path, 0, end) for path, end in zip(paths, ends, strict=True) if end > FIRST_BYTES]
        whole = dict(
            zip((path for path, _, _ in longer), self._files.read_ranges(longer, versions), strict=True)
        )
        layouts: list[Layout] = []
        for path, start in zip(paths, starts, strict=True):
            with self._explained(path):
                layouts.append(Layout.of(whole.get(path, start)))
        return layouts

    def _check_sizes(self, paths: Sequence[str], layouts: Sequence[Layout]) -> None:
        """Raise StoreError for a file that is shorter or longer than its header says."""
        sizes = self._files.sizes(paths)
        for path, layout, size in zip(paths, layouts, sizes, strict=True):
            with self._explained(path):
                layout.check_size(size)

    def _rows(
        self,
        paths: Sequence[str],
        layouts: Sequence[Layout],
        rows: Mapping[str, slice],
        versions: dict[str, str],
    ) -> "list[dict[str, Tensor]]":
        """Return rows of some tensors of each file; on S3 all are asked for together."""
        spans: list[tuple[str, int, int]] = []
        for path, layout in zip(paths, layouts, strict=True):
            with self._explained(path):
                spans += [(path, *layout.span(name, some)) for name, some in rows.items()]
        # Rows that are cut off are noticed when they are read; where none is, only the size tells.
        if all(start == stop for _, start, stop in spans):
            self._check_sizes(paths, layouts)
        data = iter(self._files.read_ranges(spans, versions))
        tensors: list[dict[str, Tensor]] = []
        for path, layout in zip(paths, layouts, strict=True):
            with self._explained(path):
                tensors.append(layout.tensors(rows, [next(data) for _ in rows]))
        return tensors

    @contextmanager
    def _explained(self, path: str = "") -> Generator[None]:
        """Turn what reading a file met into a StoreError about it."""
        from safetensors import SafetensorError

        where = self._files.path(path)
        try:
            with store_errors(where, "read", absent_is_known=True):
                yield
        except FileNotFoundError as error:
            raise StoreError(
                f"{error.filename or where}: is not there; materialise the asset that writes it first"
            ) from error
        except (SafetensorError, ValueError) as error:
            raise StoreError(
                f"{where}: not a whole safetensors file ({error}); remove it and materialise it again"
            ) from error


class Tensors(Stored, SafetensorFiles):
    """The tensors of all studies, as a resource."""


def _cut(tensor: "Tensor", slices: tuple[slice, ...]) -> "Tensor":
    """Return rows cut by the slices after the first, which chose the rows, in memory of their own."""
    return tensor[(slice(None), *slices[1:])].clone() if len(slices) > 1 else tensor


def _without_checksum(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != CHECKSUM}


def _checksum(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> str:
    """Return the checksum of names, shapes, types and values, and of the metadata."""
    import torch

    checksum = zlib.crc32(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"

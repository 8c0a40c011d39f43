"""A dataset while it is written: its files one by one, and the lists by which a reader can check them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from neuroscribe.publish.layout import Layout, LayoutFile
from neuroscribe.publish.paths import Paths
from neuroscribe.publish.tables import PublishedTables

CARD, CHECKSUMS, MANIFEST = "README.md", "checksums.txt", "manifest.json"
FOLDER_CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class DatasetFile:
    """One file of a dataset; `rows` is None for what is no table."""

    path: str
    bytes: int
    sha256: str
    table: str | None = None
    layer: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class DatasetFolder:
    """The files of a layout that are listed together, where there are too many to list in the manifest."""

    path: str
    description: str
    files: int
    bytes: int
    rows: int | None
    """None where a file does not say how many it holds."""
    checksums: str
    """Path of a file with a line `sha256  path` for each, by paths below the folder in ascending order."""
    sha256: str
    """Of that file."""


class Draft:
    """Writes the files of a dataset and lists them."""

    def __init__(self, write: Callable[[str, Iterable[bytes]], None]) -> None:
        self.files: list[DatasetFile] = []
        self.folders: list[DatasetFolder] = []
        self._write = write
        self._paths = Paths(taken=(CARD, CHECKSUMS, MANIFEST))

    def add_layout(self, layout: Layout, tables: PublishedTables) -> None:
        """Write a layout's files; those that are no tables get a file of checksums in their folder.

        Raises StoreError for a path that is taken or leaves the layout's folder.
        """
        self._paths.take(layout.folder)
        paths, together = Paths(layout.folder, taken=[FOLDER_CHECKSUMS]), _Together()
        for file in layout.files(tables):
            paths.take(file.path)
            written = self._written(f"{layout.folder}/{file.path}", file)
            if file.table is None:
                together.add(file.path, written)
            else:
                self.files.append(written)
        if together.sums:
            self._close(layout, together)

    def add_card(self, text: str) -> None:
        """Write the card."""
        self.files.append(self._written(CARD, LayoutFile(CARD, [text.encode()])))

    def finish(self, manifest: bytes) -> None:
        """Write the checksums of everything, and the manifest last."""
        sums = {file.path: file.sha256 for file in self.files}
        sums |= {folder.checksums: folder.sha256 for folder in self.folders}
        self._write(CHECKSUMS, [checksum_lines({**sums, MANIFEST: sha256(manifest)})])
        self._write(MANIFEST, [manifest])

    def _written(self, path: str, file: LayoutFile) -> DatasetFile:
        chunks = _Measured(file.chunks)
        self._write(path, chunks)
        return DatasetFile(path, chunks.bytes, chunks.sha256, file.table, file.layer, file.rows)

    def _close(self, layout: Layout, together: "_Together") -> None:
        """List what a layout's folder holds beside tables."""
        lines, path = checksum_lines(together.sums), f"{layout.folder}/{FOLDER_CHECKSUMS}"
        self._write(path, [lines])
        self.folders.append(
            DatasetFolder(
                layout.folder,
                layout.description,
                files=len(together.sums),
                bytes=together.bytes,
                rows=together.rows,
                checksums=path,
                sha256=sha256(lines),
            )
        )


def checksum_lines(sums: Mapping[str, str]) -> bytes:
    """Return lines that `sha256sum -c` reads, from checksums by path."""
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode()


def sha256(data: bytes) -> str:
    """Return the checksum of some bytes."""
    return hashlib.sha256(data).hexdigest()


class _Together:
    """What the files of a folder add up to."""

    def __init__(self) -> None:
        self.sums: dict[str, str] = {}
        self.bytes = 0
        self.rows: int | None = 0

    def add(self, path: str, file: DatasetFile) -> None:
        self.sums[path] = file.sha256
        self.bytes += file.bytes
        self.rows = None if self.rows is None or file.rows is None else self.rows + file.rows


class _Measured:
    """Hands chunks on, and keeps the size and the checksum of those that have been taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.bytes += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

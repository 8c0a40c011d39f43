"""Files below a local folder or an `s3://bucket/prefix`; each is written whole or not at all.

Whatever goes wrong becomes a StoreError that names the file, the finding and a remedy.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, TypeVar, cast
from uuid import uuid4

import dagster as dg
from upath import UPath

from neuroscribe.errors import NeuroscribeError, StoreError
from neuroscribe.secrets.addresses import fault_of
from resources.store import objects
from resources.store.disk import finding
from resources.store.outages import ReplacedError, is_remote, patient, remedy, service_errors

T = TypeVar("T")
PART = ".part"
"""Ending of temporary names; a killed writer may leave one, and no reader looks at it."""
WRITE_CHECK = "write_check"
"""Written and removed before a run, to see whether the store can be written."""

_SCHEMES = ("s3", "file", "local", "memory")
"""Of addresses; `memory`, which forgets with the process, serves tests."""
STORE = "another store (NEUROSCRIBE_STORE)"
_PART_BYTES = 8 * 2**20
"""Larger objects travel in parts of this size, of which S3 takes 10,000: a cut connection costs no more."""
_S3: Mapping[str, Any] = {
    "use_listings_cache": False,  # a cached listing would hide what another worker has just written
    "default_block_size": _PART_BYTES,
    "local_expiry_check": True,  # not every server knows the condition by which the client would ask
    "config_kwargs": {"retries": {"total_max_attempts": 1}},  # `patient` tries again, and says so
}


def place(
    address: str | Path,
    *,
    about: str,
    kind: type[NeuroscribeError] = StoreError,
    endpoint_url: str | None = None,
) -> UPath:
    """Return where an address leads: a local path, `~` being the user's folder, or `s3://bucket/prefix`.

    Raises an error of the kind about the setting `about` for an address of another scheme, and for one that
    is none.
    """
    for name, text in ((about, str(address)), ("NEUROSCRIBE_S3_ENDPOINT", endpoint_url or "")):
        if fault := fault_of(text):
            raise kind(f"{name} = {fault}")
    scheme, mark, _ = str(address).partition("://")
    try:
        if not mark:
            return UPath(Path(address).expanduser())
        if scheme in _SCHEMES:
            return UPath(address, **({**_S3, "endpoint_url": endpoint_url} if is_remote(address) else {}))
    except (ValueError, RuntimeError) as error:  # no user's folder is known, or no bucket has such a name
        raise kind(f"{about} = {str(address)!r} leads nowhere ({error}); correct it") from error
    raise kind(
        f"{about} = {str(address)!r} is of the kind {scheme}://, which is not reached; name a local folder or"
        " s3://bucket/prefix"
    )


@dataclass(frozen=True)
class Entry:
    """A file of a listing."""

    path: str
    """Below the root that was listed."""
    size: int
    age_s: float
    """Seconds since it was written, by this machine's clock."""


class Files:
    """The files below one root, by relative path with `/` between folders."""

    def __init__(self, root: str | Path, *, endpoint_url: str | None = None) -> None:
        self._root = place(root, about="NEUROSCRIBE_STORE", endpoint_url=endpoint_url)

    @property
    def is_local(self) -> bool:
        """Tell whether files lie on a disk of this machine."""
        return self._root.protocol in ("", "file", "local")

    def path(self, relative: str) -> UPath:
        """Return where a file is or would be."""
        return self._root / relative if relative else self._root

    def local_path(self, relative: str) -> Path:
        """Return the same for a root on a local disk."""
        return Path(self.path(relative).path)

    def uri(self, relative: str) -> str:
        """Return the file's address: `file:///...` or `s3://...`."""
        return self.local_path(relative).absolute().as_uri() if self.is_local else str(self.path(relative))

    def exists(self, relative: str) -> bool:
        """Tell whether a file is there, whole."""
        path = self.path(relative)
        look = path.is_file if not is_remote(path) else lambda: objects.is_there(path)
        return self._asked(path, "looked for", look)

    def names(self, folder: str) -> list[str]:
        """Return the names of files and folders in a folder, sorted; none for a folder that is not there."""
        path = self.path(folder)

        def names() -> list[str]:
            try:
                return [each.name for each in path.iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return []

        found = self._asked(path, "listed", names)
        return sorted(name for name in found if name and not name.endswith(PART))

    def entries(self, folder: str = "", *, deep: bool = True) -> list[Entry]:
        """Return all files in a folder and, if `deep`, below it, temporary ones too; no link is followed."""
        path = self.path(folder)
        listed = listed_objects if is_remote(path) else listed_files
        return self._asked(path, "listed", lambda: listed(self._root, path, deep=deep))

    def read(self, relative: str) -> bytes:
        """Return a file's bytes; raises FileNotFoundError, which callers explain, when there is none."""
        path = self.path(relative)
        read = path.read_bytes if not is_remote(path) else lambda: objects.whole(path)
        return self._asked(path, "read", read, absent=True)

    def read_ranges(
        self, ranges: Sequence[tuple[str, int, int]], versions: dict[str, str] | None = None
    ) -> list[bytes]:
        """Return the bytes from start to stop of each file named, fewer where it ends before.

        On S3 the requests are under way together. `versions` takes note of which version of a file was read;
        one that has been replaced since raises ReplacedError. Raises FileNotFoundError with the address as
        `filename`.
        """
        seen: dict[str, str] = {} if versions is None else versions
        if self.is_local:
            return [self._range(name, start, stop, seen) for name, start, stop in ranges]
        wanted = [(self.path(name), start, stop) for name, start, stop in ranges if start < stop]
        brought = iter(self._asked(self._root, "read", lambda: self._pieces(wanted), absent=True))
        return [_of(name, next(brought), seen) if start < stop else b"" for name, start, stop in ranges]

    def sizes(self, relatives: Sequence[str]) -> list[int]:
        """Return each file's size in bytes; on S3 the requests are under way together.

        Raises FileNotFoundError, which callers explain, where there is none.
        """

        def sizes() -> list[int]:
            if self.is_local:
                return [self.local_path(each).stat().st_size for each in relatives]
            found: list[Any] = self._root.fs.sizes([self.path(each).path for each in relatives])
            return [int(size) for size in found]

        return self._asked(self._root, "read", sizes, absent=True)

    def read_by(self, relative: str, read: Callable[[BinaryIO], T]) -> T:
        """Let `read` read parts of a file; raises FileNotFoundError, which callers explain.

        It begins anew where the file was replaced, or S3 did not answer, meanwhile.
        """
        path = self.path(relative)

        def opened() -> T:
            with path.open("rb") as file:
                return read(cast(BinaryIO, file))

        return self._asked(path, "read", opened, absent=True)

    def write(self, relative: str, data: bytes) -> int:
        """Write a file, replacing an older one, and return its size in bytes."""
        if self.is_local:
            self._placed(relative, lambda part: _fill(part, [data]))
            return len(data)
        path = self.path(relative)
        # `pipe` is one request, or one multi-part upload that appears when it is complete.
        self._asked(path, "written", lambda: path.fs.pipe(path.path, data, **_parts(path)))
        return len(data)

    def write_chunks(self, relative: str, chunks: Iterable[bytes]) -> None:
        """Write a file piece by piece, replacing an older one; it appears when the last piece is written."""
        if self.is_local:
            self._placed(relative, lambda part: _fill(part, chunks))
            return
        path = self.path(relative)
        with store_errors(path, "written"), NamedTemporaryFile() as file:
            # A file opened on S3 appears also when its writer broke off.
            file.writelines(chunks)
            file.flush()
            patient(path, lambda: path.fs.put_file(file.name, path.path))

    def write_by(self, relative: str, fill: Callable[[Path], object]) -> None:
        """Let `fill` write a local file under a temporary name, then put it in place."""

        def filled(part: Path) -> None:
            part.parent.mkdir(parents=True, exist_ok=True)
            fill(part)
            sync(part)

        self._placed(relative, filled)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        path = self.path(relative)
        if is_remote(path):
            self._asked(path, "removed", lambda: path.fs.rm_file(path.path))
        else:
            self._asked(path, "removed", lambda: path.unlink(missing_ok=True))

    def remove_folder(self, relative: str) -> None:
        """Remove a folder with all that is in it."""
        path = self.path(relative)
        self._asked(path, "removed", lambda: path.fs.rm(path.path, recursive=True))

    def _asked(self, path: UPath, done: str, work: Callable[[], T], *, absent: bool = False) -> T:
        """Return what work on a path brings; raises StoreError, and FileNotFoundError where callers know."""
        with store_errors(path, done, absent_is_known=absent):
            return patient(path, work)

    def _pieces(self, wanted: Sequence[tuple[UPath, int, int]]) -> list[objects.Piece]:
        """Return what requests on S3 bring together, or raise what the first of them met."""
        got: list[objects.Piece] = []
        for (path, _, _), piece in zip(wanted, objects.pieces(wanted), strict=True):
            match piece:
                case FileNotFoundError():
                    raise FileNotFoundError(errno.ENOENT, "is not there", str(path)) from piece
                case Exception():
                    raise piece
                case _:
                    got.append(piece)
        return got

    def _placed(self, relative: str, fill: Callable[[Path], None]) -> None:
        path = self.local_path(relative)
        part = path.with_name(f".{path.name}.{uuid4().hex}{PART}")
        with store_errors(path, "written"):
            try:
                fill(part)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            sync(path.parent)

    def _range(self, relative: str, start: int, stop: int, versions: dict[str, str]) -> bytes:
        """Return bytes of a file on disk, whose version is its place on the disk and when it was changed."""
        if start >= stop:
            return b""
        path = self.path(relative)
        with store_errors(path, "read", absent_is_known=True), path.open("rb") as file:
            found = os.fstat(file.fileno())
            # What a damaged header asks for may be more than memory holds.
            file.seek(min(start, found.st_size))
            data = file.read(max(0, min(stop, found.st_size) - start))
        return _of(relative, objects.Piece(data, f"{found.st_ino} {found.st_mtime_ns}"), versions)


class Stored(dg.ConfigurableResource):
    """What is kept in the store, as a resource: where the store is."""

    root: str
    """A local folder or `s3://bucket/prefix`."""
    endpoint_url: str | None = None
    """An S3-compatible server other than AWS."""


def sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def store_errors(
    path: object,
    done: str,
    *,
    absent_is_known: bool = False,
    about: str = "",
    kind: type[NeuroscribeError] = StoreError,
    elsewhere: str = STORE,
) -> Iterator[None]:
    """Turn failures of disk, network and permission into an error of some kind about `path`.

    `about` is the setting that names the path, `elsewhere` what else may be chosen.
    """

    def told(error: Exception) -> NeuroscribeError:
        where = about if repr(str(path)) in about else f"{about}: {path}" if about else path
        return kind(f"{where}: cannot be {done}: {_remedy(path, error, elsewhere)} ({error})")

    try:
        yield
    except FileNotFoundError as error:
        if absent_is_known:
            raise
        raise told(error) from error
    except (OSError, *service_errors(path)) as error:
        raise told(error) from error


def listed_files(root: UPath, folder: UPath, *, deep: bool) -> list[Entry]:
    """Return the files below a folder on a disk, by path below the root."""
    found: list[Entry] = []
    for place, folders, names in os.walk(folder.path):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for file in (Path(place, name) for name in [*names, *links]):
            try:
                status = file.lstat()
            except FileNotFoundError:
                continue  # removed meanwhile
            relative = file.relative_to(root.path).as_posix()
            found.append(Entry(relative, status.st_size, time.time() - status.st_mtime))
        if not deep:
            break
    return found


def listed_objects(root: UPath, folder: UPath, *, deep: bool) -> list[Entry]:
    """Return the objects below a prefix on S3, however many, by path below the root."""
    depth = None if deep else 1
    listed: dict[str, Any] = dict(folder.fs.find(folder.path, maxdepth=depth, detail=True))
    return [
        Entry(name.removeprefix(f"{root.path.rstrip('/')}/"), about["size"], _age_s(about["LastModified"]))
        for name, about in listed.items()
    ]


def _age_s(written: datetime) -> float:
    return (datetime.now(UTC) - written).total_seconds()


def _parts(path: UPath) -> dict[str, int]:
    return {"chunksize": _PART_BYTES} if is_remote(path) else {}


def _fill(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a new file to the disk; few requests to the system, for there may be thousands of answers."""
    try:
        file = path.open("xb", buffering=0)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb", buffering=0)
    with file:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _of(relative: str, piece: objects.Piece, versions: dict[str, str]) -> bytes:
    """Return the bytes of a piece; raises ReplacedError where other bytes were read of another version."""
    if piece.version and versions.setdefault(relative, piece.version) != piece.version:
        raise ReplacedError(f"{relative} was replaced while it was read")
    return piece.data


def _remedy(path: object, error: Exception, elsewhere: str) -> str:
    if not isinstance(error, OSError) or is_remote(path):
        return remedy(error, elsewhere)
    return finding(error, Path(str(getattr(path, "path", path))), elsewhere=elsewhere)

"""Files below a local folder or an `s3://bucket/prefix`; each is written whole or not at all.

Whatever goes wrong becomes a StoreError that names the file, the finding and a remedy.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast
from uuid import uuid4

import dagster as dg
from upath import UPath

from neuroscribe.errors import NeuroscribeError, StoreError
from neuroscribe.secrets.addresses import fault_of
from resources.store.disk import finding

PART = ".part"
"""Ending of temporary names; a killed writer may leave one, and no reader looks at it."""

_SCHEMES = ("s3", "file", "local", "memory")
"""Of addresses; `memory`, which forgets with the process, serves tests."""
STORE = "another store (NEUROSCRIBE_STORE)"
_WITHOUT_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
)
"""What the S3 client calls its errors when it knows nobody to sign for."""


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
            # A cached listing would hide what another worker has just written.
            remote: dict[str, Any] = {"use_listings_cache": False, "endpoint_url": endpoint_url}
            return UPath(address, **(remote if _is_remote(address) else {}))
    except (ValueError, RuntimeError) as error:  # no user's folder is known, or no bucket has such a name
        raise kind(f"{about} = {str(address)!r} leads nowhere ({error}); correct it") from error
    raise kind(
        f"{about} = {str(address)!r} is of the kind {scheme}://, which is not reached; name a local folder or"
        " s3://bucket/prefix"
    )


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
        with store_errors(self.path(relative), "looked for"):
            return self.path(relative).is_file()

    def names(self, folder: str) -> list[str]:
        """Return the names of files and folders in a folder, sorted; none for a folder that is not there."""
        with store_errors(self.path(folder), "listed"):
            try:
                names = [path.name for path in self.path(folder).iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(name for name in names if name and not name.endswith(PART))

    def read(self, relative: str) -> bytes:
        """Return a file's bytes; raises FileNotFoundError, which callers explain, when there is none."""
        with store_errors(self.path(relative), "read", absent_is_known=True):
            return self.path(relative).read_bytes()

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Return the bytes from start to stop of each file named, fewer where it ends before.

        On S3 the requests are under way together. Raises FileNotFoundError with the address as `filename`.
        """
        if self.is_local:
            return [self._read_range(*each) for each in ranges]
        wanted = [(str(self.path(name).path), start, stop) for name, start, stop in ranges if start < stop]
        paths, starts, stops = [list(column) for column in zip(*wanted, strict=True)] or [[], [], []]
        brought = iter(self._root.fs.cat_ranges(paths, starts, stops, on_error="return"))
        return [self._got(name, next(brought)) if start < stop else b"" for name, start, stop in ranges]

    def sizes(self, relatives: Sequence[str]) -> list[int]:
        """Return each file's size in bytes; on S3 the requests are under way together.

        Raises FileNotFoundError, which callers explain, where there is none.
        """
        with store_errors(self._root, "read", absent_is_known=True):
            if self.is_local:
                return [self.local_path(each).stat().st_size for each in relatives]
            sizes: list[Any] = self._root.fs.sizes([self.path(each).path for each in relatives])
            return [int(size) for size in sizes]

    @contextmanager
    def opened(self, relative: str) -> Iterator[BinaryIO]:
        """Open a file to read parts of it; raises FileNotFoundError, which callers explain."""
        path = self.path(relative)
        with store_errors(path, "read", absent_is_known=True), path.open("rb") as file:
            yield cast(BinaryIO, file)

    def write(self, relative: str, data: bytes) -> int:
        """Write a file, replacing an older one, and return its size in bytes."""
        if self.is_local:
            self._placed(relative, lambda part: _fill(part, [data]))
            return len(data)
        path = self.path(relative)
        with store_errors(path, "written"):
            # `pipe` is one request, or one multi-part upload that appears when it is complete.
            path.fs.pipe(path.path, data)
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
            path.fs.put_file(file.name, path.path)

    def write_by(self, relative: str, fill: Callable[[Path], object]) -> None:
        """Let `fill` write a local file under a temporary name, then put it in place."""

        def filled(part: Path) -> None:
            part.parent.mkdir(parents=True, exist_ok=True)
            fill(part)
            sync(part)

        self._placed(relative, filled)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        with store_errors(self.path(relative), "removed"):
            self.path(relative).unlink(missing_ok=True)

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

    def _read_range(self, relative: str, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        with self.opened(relative) as file:
            # What a damaged header asks for may be more than memory holds.
            size = os.fstat(file.fileno()).st_size
            file.seek(min(start, size))
            return file.read(max(0, min(stop, size) - start))

    def _got(self, relative: str, answer: bytes | Exception) -> bytes:
        """Return what a request brought, or raise what it met."""
        path = self.path(relative)
        with store_errors(path, "read", absent_is_known=True):
            match answer:
                case FileNotFoundError():
                    raise FileNotFoundError(errno.ENOENT, "is not there", str(path)) from answer
                case Exception():
                    raise answer
                case _:
                    return answer


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
    except (OSError, *_service_errors(path)) as error:
        raise told(error) from error


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


def _service_errors(path: object) -> tuple[type[Exception], ...]:
    """Return what the S3 client raises beside OSError; evaluated only when something was raised."""
    if not _is_remote(path):
        return ()
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


def _remedy(path: object, error: Exception, elsewhere: str) -> str:
    if not isinstance(error, OSError) or _is_remote(path):
        return _remote_remedy(error, elsewhere)
    return finding(error, Path(str(getattr(path, "path", path))), elsewhere=elsewhere)


def _remote_remedy(error: Exception, elsewhere: str) -> str:
    match error:
        case FileNotFoundError():
            return f"the bucket does not exist; create it, or name {elsewhere}"
        case PermissionError():
            return "access is denied; give these credentials the right to read and write the bucket"
        case _ if type(error).__name__ in _WITHOUT_CREDENTIALS:
            return (
                "there are no whole credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
                " AWS_PROFILE"
            )
        case _:
            return (
                "S3 does not answer; check the endpoint (NEUROSCRIBE_S3_ENDPOINT), the network and the"
                " credentials"
            )


def _is_remote(path: object) -> bool:
    return str(path).startswith("s3://")

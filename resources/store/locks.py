"""One process at a time, on disks with locks and on those without, and who holds a lock.

Where the system locks files, a lock ends with its process, wherever that ran. Where it does not (some cluster
and network disks), a file says who is at work: one of this machine's own dead processes is taken over; of
another machine's nobody here can tell, so that its user decides.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

_WITHOUT_LOCKS = (errno.EINVAL, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def locked(
    path: Path, *, wait_s: float = 0, of_system: Callable[..., BaseFileLock] = FileLock
) -> Iterator[None]:
    """Hold the lock in the file `path`, which ends in .lock; within one process it may be taken again.

    Raises filelock.Timeout when another process still holds it after `wait_s` seconds, and OSError where
    none can be made. `of_system` makes a lock of the system's, which raises OSError where the disk has none.
    """
    lock = _acquired(path, wait_s, of_system)
    try:
        yield
    finally:
        lock.release()


def holder(taken: Timeout) -> str:
    """Return who holds a lock that could not be had, since when, and in which file, as far as it is known."""
    path = Path(taken.lock_file)
    try:
        process, host, *_ = path.read_text(encoding="utf-8", errors="replace").split("\n")
        since = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
        return f"process {process[:20]} on {host[:80]} since {since:%Y-%m-%d %H:%M} (lock file {path})"
    except (OSError, ValueError):
        return f"a process that left no name (lock file {path})"


def ends_with_process(taken: Timeout) -> bool:
    """Tell whether the system itself ends the lock when its process is gone."""
    return Path(taken.lock_file).suffix == ".lock"


def _acquired(path: Path, wait_s: float, of_system: Callable[..., BaseFileLock]) -> BaseFileLock:
    try:
        lock = of_system(path, timeout=wait_s, is_singleton=True, fallback_to_soft=False, on_acquired=_sign)
        lock.acquire()
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        lock = SoftFileLock(path.with_suffix(".running"), timeout=wait_s, is_singleton=True)
        lock.acquire()
    return lock


def _sign(descriptor: int) -> None:
    """Write into a lock file who holds it, in the form that the library gives to files that are the lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{socket.gethostname()}\n".encode(), 0)

"""What is wrong with a disk, by its name: the finding and the remedy for each error of the system.

Everything that writes says it by these words: store, cache, Dagster's folder.
"""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol


class Room(Protocol):
    """What `os.statvfs` says of a file system."""

    @property
    def f_files(self) -> int:
        """Files that it has room for in all; 0 where it sets no limit."""
        ...

    @property
    def f_favail(self) -> int:
        """Files that still fit."""
        ...


FULL = "the disk is full; free space or choose {elsewhere}, then start again"
_FULL_OF_FILES = (
    "the disk has room for bytes and for no further file (its inodes are taken, see `df -i`); remove files or"
    " choose {elsewhere}, then start again"
)
_NOT_ALLOWED = "this user may not do that there; change its owner or mode, or choose {elsewhere}"
_WORDS: Mapping[int, str] = {
    errno.EDQUOT: "this user's quota on the disk is used up; free space there, have it raised or choose"
    " {elsewhere}, then start again",
    errno.EROFS: "the disk is read-only; choose {elsewhere}",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EMFILE: "this process has as many files open as it may; raise `ulimit -n` and start again",
    errno.ENFILE: "this machine has as many files open as it can; end other programs, or have its limit"
    " (fs.file-max) raised",
    errno.EISDIR: "a folder stands in the file's place; move it away",
    errno.ENOTEMPTY: "a folder that is not empty stands in the place; move it away",
    errno.ELOOP: "symbolic links lead in a circle there; correct them",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter one for study or folder",
    errno.EFBIG: "the file is larger than the disk, or `ulimit -f`, allows; choose {elsewhere} or raise the"
    " limit",
    errno.EIO: "the disk fails to read or write (an input/output error); check it, or choose {elsewhere}",
    errno.ESTALE: "the network disk has been changed under the process (a stale file handle); mount it anew"
    " and start again",
    errno.ENOTCONN: "the network disk is not connected; mount it anew and start again",
    errno.EHOSTDOWN: "the network disk's server is down; wait for it, or choose {elsewhere}",
    errno.ETIMEDOUT: "the network disk does not answer; wait for it, or choose {elsewhere}",
    errno.ENODEV: "the disk is gone; mount it anew, or choose {elsewhere}",
    errno.ENXIO: "the disk is gone; mount it anew, or choose {elsewhere}",
    errno.ETXTBSY: "another program holds the file; end it and start again",
    errno.EBUSY: "another program holds the file; end it and start again",
    errno.ENOMEM: "the machine has no memory left; end other programs and start again",
    errno.EINVAL: "the disk does not take such a name or such a write; choose {elsewhere}",
    errno.ENOSYS: "the disk cannot do what is asked of it; choose {elsewhere}",
    errno.EOPNOTSUPP: "the disk cannot do what is asked of it; choose {elsewhere}",
}


def finding(
    error: OSError,
    path: Path,
    *,
    elsewhere: str = "another place",
    room: Callable[[Path], Room] = os.statvfs,
) -> str:
    """Return what is wrong at a path and what to do; `elsewhere` says what else to choose, and how."""
    match error.errno:
        case errno.ENOSPC:
            words = _FULL_OF_FILES if _holds_no_more_files(path, room) else FULL
        case errno.ENOTDIR | errno.EEXIST:
            folder = path if error.errno == errno.EEXIST else path.parent
            words = f"{_in_the_way(folder)}; move it away, or choose {{elsewhere}}"
        case errno.ENOENT:
            words = "it is not there; check the path"
        case code:
            words = _WORDS.get(code or 0, "the disk refuses; check it or choose {elsewhere}")
    return words.format(elsewhere=elsewhere)


def _holds_no_more_files(path: Path, room: Callable[[Path], Room]) -> bool:
    try:
        found = room(_nearest(path))
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0


def _nearest(path: Path) -> Path:
    """Return the path itself or the folder above it that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def _in_the_way(folder: Path) -> str:
    """Return which file stands where a folder, or one above it, belongs."""
    for each in reversed([folder, *folder.parents]):
        if (each.exists() or each.is_symlink()) and not each.is_dir():
            # Braces in a name are no place for words.
            name = str(each).replace("{", "{{").replace("}", "}}")
            return f"{name} is a file where a folder belongs"
    return "something else stands in its place"

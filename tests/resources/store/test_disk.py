"""Each fault of a disk has its own name, the path, and a remedy that applies."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuroscribe.errors import CorpusError, StoreError
from resources.store.disk import finding
from resources.store.files import Files, store_errors


@dataclass
class Room:
    f_files: int = 1000
    f_favail: int = 10


def said(code: int, room: Room | None = None, path: str = "/nowhere/of/ours") -> str:
    error = OSError(code, os.strerror(code))
    return finding(error, Path(path), elsewhere="another X", room=lambda _: room or Room())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free space or choose another X"),
        (errno.EDQUOT, "quota on the disk is used up"),
        (errno.EMFILE, "raise `ulimit -n`"),
        (errno.ENFILE, "this machine has as many files open"),
        (errno.EROFS, "read-only; choose another X"),
        (errno.EACCES, "change its owner or mode, or choose another X"),
        (errno.EPERM, "change its owner or mode"),
        (errno.EISDIR, "a folder stands in the file's place"),
        (errno.ENAMETOOLONG, "the name is too long"),
        (errno.EIO, "input/output error"),
        (errno.ESTALE, "stale file handle"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ELOOP, "lead in a circle"),
        (errno.ECHILD, "the disk refuses; check it or choose another X"),
    ],
)
def test_each_fault_has_its_own_words_and_only_a_full_disk_is_full(code: int, words: str) -> None:
    assert words in said(code)
    assert ("full" in said(code)) == (code == errno.ENOSPC)


def test_a_disk_without_room_for_a_file_is_not_called_full() -> None:
    assert "no further file (its inodes are taken" in said(errno.ENOSPC, Room(f_favail=0))
    assert "the disk is full" in said(
        errno.ENOSPC, Room(f_files=0, f_favail=0)
    )  # a disk without such a limit


def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "{file}").write_bytes(b"")
    with pytest.raises(
        StoreError, match=r"\{file\} is a file where a folder belongs; move it away"
    ) as raised:
        Files(tmp_path / "{file}" / "store").write("a/b", b"")
    assert "NEUROSCRIBE_STORE" in str(raised.value)


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"/a: cannot be written: a folder .*stands in the .*place"):
        Files(tmp_path).write("a", b"")
    with pytest.raises(StoreError, match=r"/a: cannot be read: a folder stands in the file's place"):
        Files(tmp_path).read("a")


def test_a_name_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the name is too long for this disk"):
        Files(tmp_path).write("x" * 300, b"")


def test_the_setting_and_the_kind_of_error_are_those_of_who_asks() -> None:
    told = store_errors("/x", "read", about="NEUROSCRIBE_Y", kind=CorpusError, elsewhere="another Y")
    with pytest.raises(CorpusError, match=r"NEUROSCRIBE_Y: /x: cannot be read: .*choose another Y"), told:
        raise PermissionError(errno.EACCES, "Permission denied")

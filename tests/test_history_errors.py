"""A fault of Dagster's folder is told by its own name, with the file that has it."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from dagster_project.history_errors import history_error


def _told(said: str, home: Path) -> str:
    return str(history_error(OperationalError("SELECT 1", {}, sqlite3.DatabaseError(said)), home))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("database is locked", "locks do not work"),
        ("attempt to write a readonly database", "change its owner or mode"),
        ("unable to open database file", "cannot be opened"),
        ("database or disk is full", "the disk is full; free space or choose another folder (DAGSTER_HOME)"),
        ("disk I/O error", "fails to read or write"),
        ("no such table: runs", "of another version of Dagster"),
        ("something new", "choose another folder (DAGSTER_HOME)"),
    ],
)
def test_each_fault_of_a_database_has_its_own_words(tmp_path: Path, said: str, words: str) -> None:
    message = _told(said, tmp_path)
    assert message.startswith(f"{tmp_path}: Dagster's history cannot be used: ")
    assert words in message
    assert said in message


def test_the_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "history" / "runs").mkdir(parents=True)
    sound, broken = tmp_path / "history" / "runs.db", tmp_path / "history" / "runs" / "index.db"
    for path in (sound, broken):
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE t (x)")
        database.close()
    broken.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    message = _told("database disk image is malformed", tmp_path)
    assert message.startswith(f"{broken}: Dagster's history cannot be used: it is damaged; restore it")
    assert str(sound) not in message


def test_a_fault_of_the_disk_names_the_file(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied", str(tmp_path / "storage"))
    assert str(history_error(error, tmp_path)).startswith(
        f"{tmp_path}/storage: Dagster's history cannot be written: this user may not do that there"
    )

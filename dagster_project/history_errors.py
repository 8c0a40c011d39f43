"""What is wrong with Dagster's folder: settings, databases and the disk below, each fault by its own name."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from yaml import YAMLError

from dagster_project.postgres_errors import postgres_error
from neuroscribe.errors import StoreError
from resources.store.disk import FULL, finding

_ELSEWHERE = "another folder (DAGSTER_HOME)"
_DAMAGED = "it is damaged; restore it from a copy, or move it away, and Dagster begins a new history"
_WORDS = {
    "database disk image is malformed": _DAMAGED,
    "file is not a database": _DAMAGED,
    "database is locked": "another process writes it without end, or the disk's locks do not work; end that"
    f" process, or choose {_ELSEWHERE} on a local disk",
    "locking protocol": f"the disk's locks do not work; choose {_ELSEWHERE} on a local disk",
    "attempt to write a readonly database": f"this user may not write it; change its owner or mode, or choose"
    f" {_ELSEWHERE}",
    "unable to open database file": f"it cannot be opened; look at its folder's owner and mode, free space,"
    f" or choose {_ELSEWHERE}",
    "database or disk is full": FULL.format(elsewhere=_ELSEWHERE),
    "disk I/O error": f"the disk fails to read or write; check it, or choose {_ELSEWHERE}",
    "no such table": "it is of another version of Dagster; move it away, and Dagster begins a new history",
    "no such column": "it is of another version of Dagster; move it away, and Dagster begins a new history",
}


_UNSET = re.compile(r'environment variable "([^"]+)" which is not set')


def history_error(error: OSError | SQLAlchemyError, home: Path) -> StoreError:
    """Return what to tell a user of a fault of Dagster's history in the folder `home`, or where it points."""
    if isinstance(error, OSError):
        place = Path(str(error.filename or home))
        return StoreError(
            f"{place}: Dagster's history cannot be written: {finding(error, place, elsewhere=_ELSEWHERE)}"
            f" ({error})"
        )
    if not (isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error)):
        return postgres_error(error, home)
    found = str(error.orig)
    words = next((words for said, words in _WORDS.items() if said in found), f"choose {_ELSEWHERE}")
    places = ", ".join(str(path) for path in _damaged(home)) if words == _DAMAGED else ""
    return StoreError(f"{places or home}: Dagster's history cannot be used: {words} ({found})")


def settings_error(error: dg.DagsterInvalidConfigError | YAMLError, file: Path, template: str) -> StoreError:
    """Return what to tell a user of a file of settings that Dagster cannot read; shows no value in it."""
    faults = (
        [each.message for each in error.errors] if isinstance(error, dg.DagsterInvalidConfigError) else []
    )
    if unset := next(filter(None, map(_UNSET.search, faults)), None):
        return StoreError(f"{file}: the environment variable {unset[1]}, which it names, is not set; set it")
    first = [*faults, str(error)][0].splitlines()[0].partition(". ")[0]
    return StoreError(f"{file}: Dagster cannot read it ({first}); correct it ({template} is the template)")


def _damaged(home: Path) -> Iterator[Path]:
    """Yield the databases in a folder that are none, or fail SQLite's own check."""
    for path in sorted(home.rglob("*.db")):
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
                sound = database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.Error:
            sound = False
        if not sound:
            yield path

"""What is wrong with Dagster's folder: its databases and the disk below them, each fault by its own name."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from neuroscribe.errors import StoreError
from resources.store.disk import finding
from resources.store.sqlite_faults import is_damage, sqlite_words

_ELSEWHERE = "another folder (DAGSTER_HOME)"
_ANEW = "Dagster begins a new history"


def history_error(error: OSError | DBAPIError, home: Path) -> StoreError:
    """Return what to tell a user of a fault of Dagster's history in the folder `home`."""
    if isinstance(error, OSError):
        place = Path(str(error.filename or home))
        return StoreError(
            f"{place}: Dagster's history cannot be written: {finding(error, place, elsewhere=_ELSEWHERE)}"
            f" ({error})"
        )
    found = str(error.orig)
    words = sqlite_words(found, program="Dagster", elsewhere=_ELSEWHERE, anew=_ANEW)
    places = ", ".join(str(path) for path in _damaged(home)) if is_damage(found) else ""
    return StoreError(f"{places or home}: Dagster's history cannot be used: {words} ({found})")


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

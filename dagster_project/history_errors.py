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
from resources.store.disk import finding
from resources.store.sqlite_faults import is_damage, sqlite_words

_ELSEWHERE = "another folder (DAGSTER_HOME)"
_ANEW = "Dagster begins a new history"


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
    words = sqlite_words(found, program="Dagster", elsewhere=_ELSEWHERE, anew=_ANEW)
    places = ", ".join(str(path) for path in _damaged(home)) if is_damage(found) else ""
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

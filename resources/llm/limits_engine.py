"""Opens the database of limits, SQLite or PostgreSQL, and says what is wrong with it."""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from neuroscribe.errors import StoreError
from resources.store.disk import finding
from resources.store.sqlite_faults import sqlite_words

VARIABLE = "NEUROSCRIBE_LIMITS_DATABASE"
_LOCK_ID = 0x6E6575726F
"""Of PostgreSQL's locks that belong to no table, the one that stands for these tables."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.01
_ELSEWHERE = f"another database ({VARIABLE})"
_ANEW = "a new one begins, by which nothing is spent yet"


def url_of(address: str) -> URL:
    """Return the URL of a file, an SQLAlchemy address or, if empty, of a database in memory.

    Raises ArgumentError for one that is of no use here.
    """
    if "://" not in address:
        return URL.create("sqlite", database=address or None)
    try:
        url = make_url(address)
    except ValueError as error:  # of a port that is none
        raise ArgumentError("no address") from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ArgumentError("neither SQLite nor PostgreSQL")
    return url


def file_of(url: URL) -> Path | None:
    """Return the file of a database, None where it is none."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def engine_of(url: URL, patience_s: float) -> Engine:
    """Return a way to a database in which transactions follow one another, those of all processes."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, patience_s)
    # As with SQLite below, no change waits for the disk.
    options = f"-c lock_timeout={round(1000 * patience_s)} -c synchronous_commit=off"
    waits = {"connect_timeout": round(patience_s), "options": options}
    engine = create_engine(url, pool_pre_ping=True, connect_args=waits)

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")

    event.listen(engine, "begin", begun)
    return engine


def _sqlite(url: URL, patience_s: float) -> Engine:
    pool: dict[str, Any] = {} if url.database else {"poolclass": StaticPool}
    alone = {"timeout": 0, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=alone, **pool)

    def connected(connection: sqlite3.Connection, _: object) -> None:
        # No change waits for the disk: a kill loses none, and a power cut those of the last seconds.
        for setting in ("journal_mode = WAL", "synchronous = NORMAL"):
            _patiently(partial(connection.execute, f"PRAGMA {setting}"), patience_s)

    def begun(connection: Connection) -> None:
        _patiently(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), patience_s)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _patiently(execute: Callable[[], object], patience_s: float) -> None:
    """Execute once others have ended their transactions.

    SQLite would wait as well, but up to a tenth of a second at a time, and not at all where a file is new.
    """
    begun, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            execute()
        except (sqlite3.OperationalError, DBAPIError) as error:
            found = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(found, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > begun + patience_s:
                raise
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)
        else:
            return


def limits_error(error: Exception, address: str) -> Exception:
    """Return what to tell a user of a fault of the database; an error of another kind stays as it is.

    An address may hold a password and is never shown; nor is a cause, which may quote it.
    """
    match error:
        case ArgumentError() | ImportError():
            return StoreError(
                f"{VARIABLE} names no database that can be used: set it to a file, or to an address such as"
                " postgresql+psycopg2://user:password@host/database, or unset it"
            )
        case DBAPIError():
            return StoreError(f"the limits on LLM calls cannot be kept: {_words(error, address)}")
        case OSError():
            place = Path(str(error.filename or address))
            found = f"{place}: {finding(error, place, elsewhere=_ELSEWHERE)} ({error})"
            return StoreError(f"the limits on LLM calls cannot be kept: {found}")
        case _:
            return error


def _words(error: DBAPIError, address: str) -> str:
    found = " ".join(str(error.orig).split())
    if isinstance(error.orig, sqlite3.Error):
        words = sqlite_words(found, program="Neuroscribe", elsewhere=_ELSEWHERE, anew=_ANEW)
        return f"{file_of(url_of(address))}: {words} ({found})"
    return (
        f"the database that {VARIABLE} names cannot be used ({found}); see that it runs, and that host, user"
        " and password are right"
    )

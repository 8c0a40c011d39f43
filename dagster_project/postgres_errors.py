"""What is wrong with PostgreSQL where Dagster's settings name it for the history, each fault by its name."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from neuroscribe.errors import StoreError

_SCHEME = "write `scheme: postgresql+psycopg2` under storage, postgres, postgres_db, or begin the url with it"
_UNREACHED = "no server answers there; start it, or correct hostname and port"
_FULL = "all its connections are taken; end what holds them, or raise its max_connections"
_OLD = "its tables are of another version of Dagster; run `dagster instance migrate`, or name a new database"
_BY_WORDS = {  # while a connection is made there is no code of the error
    "password authentication failed": "it knows no such user with this password; correct username or"
    " password",
    "no password supplied": "it wants a password and got none; set the variable that password names",
    r'database ".*" does not exist': "it has no such database; make it (`createdb NAME`), or correct db_name",
    "could not translate host name": "nobody knows that host; correct hostname (signs such as @ in the"
    " password of an url are written as %40)",
    "no pg_hba.conf entry": "it lets this user or this machine not in; add a line to its pg_hba.conf",
    "too many clients|remaining connection slots": _FULL,
    "refused|timeout|timed out|unreachable|No route|starting up|shutting down|closed|terminat": _UNREACHED,
}
_BY_CODE = {
    "25006": "it can only be read; name the server that is written to",
    "42501": "this user may not make tables there; make it the owner of the database (ALTER DATABASE … OWNER"
    " TO …)",
    "42P01": _OLD,
    "42703": _OLD,
    "53100": "the disk of the server is full; free space there",
    "53300": _FULL,
}


def postgres_error(error: SQLAlchemyError, home: Path) -> StoreError:
    """Return what to tell a user of a fault of the server that dagster.yaml in the folder `home` names."""
    if isinstance(error, ArgumentError):  # its words may hold the whole url
        return _unusable(home, f"SQLAlchemy cannot read its address; {_SCHEME}")
    cause = getattr(error, "orig", None)
    # Of an url with an @ in the password, a part of the password passes for the host.
    found = re.sub(r'"[^"]*@', '"…@', " ".join(str(cause or error).split()))
    words = _BY_CODE.get(getattr(cause, "pgcode", None) or "") or next(
        (words for said, words in _BY_WORDS.items() if re.search(said, found)), "look into the server's log"
    )
    return _unusable(home, f"{words} ({found})")


@contextmanager
def postgres_errors(home: Path) -> Iterator[None]:
    """Open a storage without a line for each further try, and with a message where its driver is missing."""
    root = logging.getLogger()
    root.addFilter(_is_no_retry)
    try:
        yield
    except ModuleNotFoundError as error:
        driver = f"its scheme asks for the driver {error.name}, which is not installed"
        raise _unusable(home, f"{driver}; {_SCHEME}") from error
    finally:
        root.removeFilter(_is_no_retry)


def unwrapped(error: Exception) -> Exception:
    """Return what SQLAlchemy raised in place of what dagster-postgres makes of it after its last try."""
    # By name: to import it takes more than a second, also for those who have no server.
    is_wrapped = type(error).__module__.startswith("dagster_postgres")
    return error.__cause__ if is_wrapped and isinstance(error.__cause__, SQLAlchemyError) else error


def _is_no_retry(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Retrying failed database")


def _unusable(home: Path, found: str) -> StoreError:
    return StoreError(
        f"{home}/dagster.yaml: PostgreSQL, which it names for Dagster's history, cannot be used: {found}"
    )

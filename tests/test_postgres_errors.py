"""A fault of PostgreSQL as Dagster's storage is one message with a remedy, and shows no password."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dagster_project.environments import Environment
from dagster_project.history import history
from dagster_project.history_errors import history_error
from neuroscribe.errors import StoreError
from tests.postgres_server import DATABASE, PASSWORD, USER, PostgresServer, postgres_server

ELSEWHERE = "DAGSTER_HOME"
"""What is no remedy here."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "set by what is tested")  # and taken back afterwards
    return tmp_path


def _told_on_opening(home: Path, **settings: object) -> str:
    """Return the message of an instance with these settings of PostgreSQL."""
    place = {"username": USER, "password": PASSWORD, "hostname": "127.0.0.1", "db_name": DATABASE} | settings
    stated = {"storage": {"postgres": {"postgres_db": place}}}
    (home / "dagster.yaml").write_text(json.dumps(stated), encoding="utf-8")  # JSON is YAML
    with pytest.raises(StoreError) as told, history(Environment.read({"DAGSTER_HOME": str(home)})):
        pass
    assert ELSEWHERE not in str(told.value)
    assert PASSWORD not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("scheme", [None, "postgres", "postgresql+asyncpg"])
def test_a_scheme_whose_driver_is_not_there_is_told_the_right_one(home: Path, scheme: str | None) -> None:
    message = _told_on_opening(home, **({"scheme": scheme} if scheme else {}))
    assert message.startswith(f"{home}/dagster.yaml: PostgreSQL, which it names for Dagster's history")
    assert "write `scheme: postgresql+psycopg2`" in message


def test_a_variable_that_is_not_set_is_named(home: Path) -> None:
    message = _told_on_opening(home, password={"env": "NOBODY_SET_IT"})
    assert message.endswith(
        "/dagster.yaml: the environment variable NOBODY_SET_IT, which it names, is not set; set it"
    )


def test_a_password_of_the_wrong_type_is_not_shown(home: Path) -> None:
    message = _told_on_opening(home, password=123456789012)
    assert (
        "Dagster cannot read it (Invalid scalar at path root:storage:postgres:postgres_db:password)"
        in message
    )
    assert "123456789012" not in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "password", "database", "words"),
    [
        (USER, "not-the-pass-w0rd", DATABASE, "it knows no such user with this password"),
        ("nobody", PASSWORD, DATABASE, "it knows no such user with this password"),
        (USER, PASSWORD, "absent", "it has no such database; make it (`createdb NAME`)"),
        (USER, "pa@ss", DATABASE, "nobody knows that host; correct hostname (signs such as @"),
    ],
)
def test_what_the_server_refuses_has_its_own_words(
    server: PostgresServer, home: Path, user: str, password: str, database: str, words: str
) -> None:
    url = f"postgresql+psycopg2://{user}:{password}@127.0.0.1:{server.port}/{database}"
    with pytest.raises(SQLAlchemyError) as refused:
        sqlalchemy.create_engine(url).connect()
    message = str(history_error(refused.value, home))
    assert words in message
    assert ELSEWHERE not in message
    assert password not in message
    assert "ss@" not in message


@pytest.mark.slow
def test_a_user_who_may_make_no_tables_is_told_so(server: PostgresServer, home: Path) -> None:
    server.rows(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    settings = {"port": server.port, "scheme": "postgresql+psycopg2", "username": "guest"}
    assert "this user may not make tables there; make it the owner" in _told_on_opening(home, **settings)


@pytest.mark.slow
def test_tables_of_another_release_are_told_to_be_migrated(server: PostgresServer, home: Path) -> None:
    url = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    with sqlalchemy.create_engine(url).connect() as connection, pytest.raises(SQLAlchemyError) as refused:
        connection.execute(sqlalchemy.text("SELECT absent FROM pg_class"))
    assert "run `dagster instance migrate`" in str(history_error(refused.value, home))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('connection to server at "db", port 5432 failed: Connection refused', "no server answers there"),
        ("FATAL:  the database system is starting up", "no server answers there"),
        ("server closed the connection unexpectedly", "no server answers there"),
        ("FATAL:  sorry, too many clients already", "all its connections are taken"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "it lets this user or this machine not in"),
        ("fe_sendauth: no password supplied", "it wants a password and got none"),
        ("something new", "look into the server's log"),
    ],
)
def test_what_libpq_says_has_words_without_a_server(home: Path, said: str, words: str) -> None:
    error = OperationalError("SELECT 1", {}, psycopg2.OperationalError(f"{said}\n\tmore"))
    message = str(history_error(error, home))
    assert f"cannot be used: {words}" in message
    assert f"({said.replace('  ', ' ')} more)" in message
    assert ELSEWHERE not in message

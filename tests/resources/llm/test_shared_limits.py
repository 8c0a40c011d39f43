"""Four processes keep one limit per minute and one budget, whatever becomes of any of them."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from resources.llm.budget import Budget
from resources.llm.limits_database import LimitsDatabase
from tests.resources.llm.sharing import CENTS_A_CALL, ask, ask_until_spent, begun, ended
from tests.resources.llm.weather import Weather

pytestmark = pytest.mark.slow


class Clocked(Weather):
    """Says the same to everything, and when it was asked."""

    def __init__(self, *, refuses_first: str = "", takes_s: float = 0.0) -> None:
        super().__init__()
        self.arrivals: list[float] = []
        self._retry_after, self._takes_s = refuses_first, takes_s

    def reply(self, prompt: str) -> str | ScriptedFault:
        self.arrivals.append(time.monotonic())
        if self._retry_after and len(self.arrivals) == 1:
            return ScriptedFault.too_many(retry_after=self._retry_after)
        time.sleep(self._takes_s)
        return super().reply(prompt)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "home" / "limits.db"


def settings(server: ScriptedServer, record: Path, **limits: object) -> dict[str, object]:
    return {"base_url": server.base_url, "limits_database": str(record), **limits}


def until(happened: Callable[[], object]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_four_processes_together_keep_to_one_limit_per_minute(record: Path):
    script = Clocked()
    with ScriptedServer(script) as server:
        shared = settings(server, record, requests_per_minute=1200)
        assert ended([begun(ask, shared, 20) for _ in range(4)]) == [0, 0, 0, 0]
    assert len(script.arrivals) == 80
    # Each by itself would ask all in a second. The first may come late, for all is opened for them.
    assert script.arrivals[79] - script.arrivals[20] >= 59 * 60 / 1200 - 0.7


def test_four_processes_together_spend_one_budget_and_never_more(record: Path):
    with ScriptedServer(Clocked(takes_s=0.05)) as server:
        shared = settings(server, record, budget_usd=1.0)
        assert ended([begun(ask_until_spent, shared, 20) for _ in range(4)]) == [0, 0, 0, 0]
        cents = CENTS_A_CALL * len(server.calls)
    assert 50 < cents <= 100
    database = LimitsDatabase(str(record))
    assert Budget(1.0, database=database).spent_usd == pytest.approx(cents / 100)
    database.close()


def test_what_a_killed_process_had_under_way_counts_as_spent_and_the_others_go_on(record: Path):
    with ScriptedServer(Clocked(takes_s=20.0)) as server:
        killed = begun(ask, settings(server, record, budget_usd=1.0), 2)
        until(lambda: len(server.calls) == 2)
        assert killed.pid
        os.kill(killed.pid, signal.SIGKILL)
        assert ended([killed]) == [-signal.SIGKILL]
        later = LimitsDatabase(str(record), clock=lambda: time.time() + 61.0)
        lost = Budget(1.0, database=later).spent_usd
        assert 2 * CENTS_A_CALL / 100 <= lost < 1.0
        later.close()
    with ScriptedServer(Weather()) as server:
        ask_until_spent(settings(server, record, budget_usd=1.0), 30)
        spent = lost + CENTS_A_CALL * len(server.calls) / 100
    assert 0.5 < spent <= 1.0


def test_a_hold_that_a_server_asks_of_one_process_is_kept_by_the_others(record: Path):
    script = Clocked(refuses_first="2")
    with ScriptedServer(script) as server:
        shared = settings(server, record, requests_per_minute=60_000)
        first = begun(ask, shared, 1)
        until(lambda: _held(record))
        others = [begun(ask, shared, 3) for _ in range(2)]
        assert ended([first, *others]) == [0, 0, 0]
    assert len(script.arrivals) == 8
    assert min(script.arrivals[1:]) - script.arrivals[0] >= 1.9


def _held(record: Path) -> float:
    """Return until when the first process has put on record that nothing starts; 0 before it has."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(record)) as database:
        return database.execute("SELECT max(held) FROM neuroscribe_paces").fetchone()[0] or 0.0
    return 0.0

"""The record of limits: its clock, its window of money, its faults, each in one process."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from neuroscribe.errors import BudgetError, StoreError
from neuroscribe.study.spec import LLMSpec
from neuroscribe.testing.servers import ScriptedServer
from resources.llm.budget import Budget
from resources.llm.limits_database import LimitsDatabase
from resources.llm.opening import LLMServers
from resources.llm.shared_pace import SharedPace, account
from tests.resources.llm.weather import Weather

Opened = Callable[..., LimitsDatabase]
HOUR = 3600.0


class Clock:
    """A wall clock that goes when it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens the record as another process would."""
    databases: list[LimitsDatabase] = []

    def open_one(clock: Clock | None = None, **options: float) -> LimitsDatabase:
        clocked = {} if clock is None else {"clock": clock}
        databases.append(LimitsDatabase(str(tmp_path / "home" / "limits.db"), **clocked, **options))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close()


def place(pace: SharedPace, tokens: int = 1) -> float:
    """Take a place, and return the seconds until then."""
    return asyncio.run(pace._place(tokens, None))[1]


def spent(budget: Budget, usd: float) -> None:
    """Make a call that costs what was set aside for it, and wait until that is on record."""
    asyncio.run(budget.reserve(usd))
    budget.settle(usd, usd)
    assert budget.spent_usd >= usd


def test_places_are_handed_out_one_after_the_other_whoever_asks(opened: Opened):
    clock = Clock()
    one, two = (
        SharedPace(opened(clock), "a", requests_per_minute=100, tokens_per_minute=0) for _ in range(2)
    )
    spacing = 60 / 99
    assert [place(pace) for pace in (one, two, one, two)] == pytest.approx([n * spacing for n in range(4)])


def test_tokens_that_one_process_gives_back_are_the_others(opened: Opened):
    clock = Clock()
    one, two = (
        SharedPace(opened(clock), "a", requests_per_minute=0, tokens_per_minute=6000) for _ in range(2)
    )
    assert place(one, tokens=600) == 0.0
    one.correct(estimated=600, taken=99)
    one.hold_for(0.0)
    place(one, tokens=0)
    assert place(two) == pytest.approx(1.0)  # 99 tokens at 99 % of 100 a second


@pytest.mark.parametrize("back_s", [2.0, 10 * HOUR])
def test_a_clock_that_is_set_back_makes_nobody_wait_longer(opened: Opened, back_s: float):
    clock = Clock()
    pace = SharedPace(opened(clock), "a", requests_per_minute=99 * 60, tokens_per_minute=0)
    other = SharedPace(opened(clock), "b", requests_per_minute=99 * 60, tokens_per_minute=0)
    assert [place(pace), place(other)] == [0.0, 0.0]
    clock.now -= back_s
    assert place(pace) <= 60 / (0.99 * 99 * 60) + 1e-6
    assert place(other) <= 60 / (0.99 * 99 * 60) + 1e-6


def test_paces_of_other_accounts_are_apart_and_tell_no_key(opened: Opened, tmp_path: Path):
    names = {account("http://x/v1", "sk-1"), account("http://x/v1/", "sk-1"), account("http://x/v1", "sk-2")}
    assert len(names) == 2
    assert not any("sk" in name or "http" in name for name in names)


def test_money_comes_back_when_it_leaves_the_window(opened: Opened):
    clock = Clock()
    budget = Budget(1.0, hours=2.0, database=opened(clock))
    spent(budget, 0.4)
    clock.now += HOUR
    spent(budget, 0.5)
    with pytest.raises(BudgetError, match=r"\$1\.00 \(\w+_USD\) in any 2 hours \(\w+_HOURS\), is spent"):
        spent(budget, 0.3)
    clock.now += HOUR + 1
    spent(budget, 0.3)
    assert budget.spent_usd == pytest.approx(0.8)


def test_the_message_says_who_has_spent_what_and_when_there_will_be_money(opened: Opened):
    clock = Clock()
    one, two = (Budget(1.0, hours=2.0, database=opened(clock)) for _ in range(2))
    spent(one, 0.3)
    clock.now += HOUR
    spent(two, 0.6)
    with pytest.raises(
        BudgetError, match=r"\$0\.9000 by process \d+ on \S+ since .*; there will be enough from 1970-01-12"
    ) as raised:
        spent(one, 0.2)
    assert "the same command continues from here" in str(raised.value)
    with pytest.raises(BudgetError, match=r"may cost \$1\.2000; it is more than the whole budget"):
        spent(one, 1.2)


def test_a_call_waits_for_money_that_another_process_has_set_aside_and_may_leave(opened: Opened):
    one, two = Budget(1.0, database=opened()), Budget(1.0, database=opened())

    async def work() -> bool:
        await one.reserve(0.8)
        waiting = asyncio.ensure_future(two.reserve(0.5))
        await asyncio.sleep(0.2)
        waited = not waiting.done()
        one.settle(0.8, 0.1)
        await waiting
        return waited

    assert asyncio.run(work())
    assert two.spent_usd == pytest.approx(0.1)


def test_a_lease_that_runs_out_counts_as_spent_and_again_as_set_aside_when_its_process_comes_back(
    opened: Opened,
):
    clock = Clock()
    one, two = Budget(1.0, database=opened(clock)), Budget(1.0, database=opened(clock))
    asyncio.run(one.reserve(0.8))
    clock.now += 61.0
    with pytest.raises(BudgetError, match=r"\$0\.8000 by calls of process \d+ on \S+ when it was killed"):
        asyncio.run(two.reserve(0.5))
    one.settle(0.8, 0.1)
    assert one.spent_usd == pytest.approx(0.1)
    asyncio.run(two.reserve(0.5))


def test_money_of_a_call_that_is_cancelled_while_it_is_set_aside_is_given_back(
    opened: Opened, tmp_path: Path
):
    budget = Budget(1.0, database=opened())
    assert budget.spent_usd == 0.0  # opens the record

    async def work() -> None:
        with closing(sqlite3.connect(tmp_path / "home" / "limits.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            call = asyncio.ensure_future(budget.reserve(1.0))
            await asyncio.sleep(0.1)
            call.cancel()
            await asyncio.wait([call])
            other.execute("ROLLBACK")
        await asyncio.wait_for(budget.reserve(1.0), 5)

    asyncio.run(work())


def test_a_job_that_one_process_owes_and_another_pays_is_booked_once(opened: Opened):
    one, two = Budget(1.0, database=opened()), Budget(1.0, database=opened())
    asyncio.run(one.reserve(0.9))
    one.owe("batch_0", 0.9)
    assert one.spent_usd == pytest.approx(0.9)
    with pytest.raises(BudgetError, match=r"batch jobs of process .* that are not collected"):
        asyncio.run(two.reserve(0.2))
    two.pay("batch_0", 0.3)
    assert (two.spent_usd, one.spent_usd) == pytest.approx((0.3, 0.3))


def test_a_record_that_is_removed_begins_anew(opened: Opened, tmp_path: Path):
    budget = Budget(1.0, database=opened())
    spent(budget, 0.9)
    for path in (tmp_path / "home").iterdir():
        path.unlink()
    assert budget.spent_usd == 0.0


SPEC = LLMSpec(model="m", provider="openai", prompt_style="completion")


def checked(server: ScriptedServer, address: str, **limits: float) -> None:
    llm = LLMServers(base_url=server.base_url, limits_database=address, **limits).server(  # type: ignore[arg-type]
        SPEC.model_copy(
            update={"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 1.0}
        )
    )
    asyncio.run(llm.check())


@pytest.mark.parametrize("limits", [{"budget_usd": 1.0}, {"requests_per_minute": 60}])
def test_a_damaged_record_is_named_with_the_remedy_before_anything_is_asked(
    tmp_path: Path, limits: dict[str, float]
):
    damaged = tmp_path / "limits.db"
    damaged.write_bytes(b"no database " * 1000)
    with ScriptedServer(Weather()) as server:
        with pytest.raises(StoreError, match=r"limits\.db: it is damaged; .*move it away, and a new"):
            checked(server, str(damaged), **limits)
        assert not server.calls


def test_a_record_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path):
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "file").write_text("")
    with ScriptedServer(Weather()) as server:
        with pytest.raises(StoreError, match=r"folder\.db: it cannot be opened; .*_LIMITS_DATABASE"):
            checked(server, str(tmp_path / "folder.db"), budget_usd=1.0)
        with pytest.raises(StoreError, match="is a file where a folder belongs; move it away"):
            checked(server, str(tmp_path / "file" / "limits.db"), budget_usd=1.0)
        assert not server.calls


def test_a_record_that_another_program_locks_for_ever_is_named(opened: Opened, tmp_path: Path):
    first = Budget(1.0, database=opened())
    assert first.spent_usd == 0.0
    with closing(sqlite3.connect(tmp_path / "home" / "limits.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="another process writes it without end"):
            asyncio.run(Budget(1.0, database=opened(patience_s=0.2)).reserve(0.1))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql+psycopg2://me:hush-hush-0123@127.0.0.1:1/limits", "see that it runs"),
        ("postgres://me:hush-hush-0123@127.0.0.1:1/limits", "see that it runs"),
        ("mysql://me:hush-hush-0123@127.0.0.1:1/limits", "names no database that can be used"),
        ("postgresql+psycopg2://me:hush-hush-0123@[::1:x/limits", "names no database that can be used"),
    ],
)
def test_an_address_of_no_use_is_named_by_its_variable_and_never_shown(address: str, said: str):
    with ScriptedServer(Weather()) as server:
        with pytest.raises(StoreError, match=said) as raised:
            checked(server, address, budget_usd=2.0)
        assert not server.calls
    error: BaseException | None = raised.value
    assert "NEUROSCRIBE_LIMITS_DATABASE" in str(error)
    while error is not None:
        assert "hush" not in str(error)
        error = error.__cause__ or error.__context__


def test_without_limits_no_record_is_made(tmp_path: Path):
    with ScriptedServer(Weather()) as server:
        checked(server, str(tmp_path / "limits.db"))
        assert not list(tmp_path.iterdir())
        checked(server, str(tmp_path / "limits.db"), tokens_per_minute=10**6)
        assert (tmp_path / "limits.db").exists()

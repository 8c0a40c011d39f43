"""What all processes have spent on LLM calls, and have set aside for calls under way, on one record.

Amounts are whole billionths of a dollar, so that sums are exact. What a process has set aside stands in its
lease, which it renews; when the process was killed the lease runs out and counts as spent, for its calls may
have been charged for.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from resources.llm.limits_database import METADATA, moment

LEASE_S = 60.0
"""After which a lease that is not renewed counts as spent: four times as long as until it is renewed."""
_KEPT_S = 31 * 86400.0
"""How long spending stays on record where no window is longer."""
_PARTS = 256
"""Of a window: what a process spends in one of them is one row, which leaves the window as a whole."""

_SPENDING = Table(
    "neuroscribe_spending",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("process", String(64), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    moment("since"),
    moment("until", index=True),
    Column("amount", BigInteger, nullable=False),
)
_LEASES = Table(
    "neuroscribe_leases",
    METADATA,
    Column("process", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    moment("since"),
    moment("until"),
    Column("amount", BigInteger, nullable=False),
)
_DEBTS = Table(
    "neuroscribe_debts",
    METADATA,
    Column("job", String(255), primary_key=True),
    Column("name", String(255), nullable=False),
    moment("since"),
    Column("amount", BigInteger, nullable=False),
)

# Made once: to put a statement together takes longer than to carry it out.
_MINE, _NOW, _BEGIN = bindparam("mine"), bindparam("now"), bindparam("begin")
_IS_MINE = _LEASES.c.process == _MINE
_HAS_LAPSED = (_LEASES.c.until < _NOW) & (_LEASES.c.until > _BEGIN) & ~_IS_MINE & (_LEASES.c.amount > 0)
_SPENT = select(_SPENDING).where(_SPENDING.c.until > _BEGIN)
_OWED = select(_DEBTS).where(_DEBTS.c.since > _BEGIN)
_LAPSED = select(_LEASES).where(_HAS_LAPSED)
_SUMS = select(
    select(func.sum(_SPENDING.c.amount)).where(_SPENDING.c.until > _BEGIN).scalar_subquery(),
    select(func.sum(_DEBTS.c.amount)).where(_DEBTS.c.since > _BEGIN).scalar_subquery(),
    select(func.sum(_LEASES.c.amount)).where(_HAS_LAPSED).scalar_subquery(),
    select(func.sum(_LEASES.c.amount)).where(_IS_MINE | (_LEASES.c.until >= _NOW)).scalar_subquery(),
    select(func.sum(_LEASES.c.amount)).where(_IS_MINE).scalar_subquery(),
)
_LEASE = update(_LEASES).where(_IS_MINE)
_LEASE = _LEASE.values(amount=_LEASES.c.amount + bindparam("more"), until=bindparam("later"))
_BOOK = update(_SPENDING).where((_SPENDING.c.process == _MINE) & (_SPENDING.c.since > bindparam("recent")))
_BOOK = _BOOK.values(amount=_SPENDING.c.amount + bindparam("more"), until=_NOW)
_OWED_FOR = _OWED.where(_DEBTS.c.job == bindparam("paid"))
_FORGIVE = delete(_DEBTS).where(_DEBTS.c.job == bindparam("paid"))


@dataclass(frozen=True)
class Spent:
    """An amount that counts as spent until it leaves the window; times are in seconds."""

    name: str
    amount: int
    since: float
    leaves: float


class Purse:
    """The money on record as one process sees it, within a rolling window; fulfils `Record`."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.id, self.name = uuid4().hex, f"process {os.getpid()} on {socket.gethostname()[:200]}"

    def read(self, connection: Connection, now: float) -> "Money":
        """Return the money as it is on record."""
        return Money(self, connection, now)

    def write(self, connection: Connection, now: float, state: "Money") -> None:
        """Put on record what has changed."""
        state.write()


class Money:
    """What is spent and set aside, within one transaction."""

    def __init__(self, purse: Purse, connection: Connection, now: float) -> None:
        self._purse, self._connection, self._now = purse, connection, now
        self._known = {"mine": purse.id, "now": now, "begin": now - purse.window_s}
        self._leased = self._booked = 0
        row = connection.execute(_SUMS, self._known).one()
        booked, owed, lapsed, self.under_way, self.own = (int(part or 0) for part in row)
        self.spent = booked + owed + lapsed
        """What was booked, what is owed, and leases that have run out."""

    def reserve(self, amount: int) -> None:
        """Set so much more aside."""
        self._leased += amount
        self.under_way += amount
        self.own += amount

    def book(self, amount: int) -> None:
        """Count so much more as spent."""
        self._booked += amount
        self.spent += amount

    def owe(self, job: str, amount: int) -> None:
        """Count so much as spent until the job is paid for, by whichever process."""
        self._forgive(job)
        row = {"job": job, "name": self._purse.name, "since": self._now, "amount": amount}
        self._connection.execute(insert(_DEBTS), row)
        self.spent += amount

    def pay(self, job: str, amount: int) -> None:
        """Count what a job has cost in place of what is owed for it."""
        self._forgive(job)
        self.book(amount)

    def renew(self) -> None:
        """Keep this process's lease, and forget what no window reaches."""
        self._connection.execute(_LEASE, self._until(0))
        begin = self._now - max(self._purse.window_s, _KEPT_S)
        for table, column in ((_SPENDING, "until"), (_DEBTS, "since"), (_LEASES, "until")):
            self._connection.execute(delete(table).where(table.c[column] < begin))

    def statement(self) -> Iterator[Spent]:
        """Yield all that counts as spent."""
        self.write()
        window_s = self._purse.window_s
        for row in self._connection.execute(_SPENT, self._known):
            yield Spent(row.name, row.amount, row.since, row.until + window_s)
        for row in self._connection.execute(_LAPSED, self._known):
            name = f"calls of {row.name} when it was killed"
            yield Spent(name, row.amount, row.since, row.until + window_s)
        for row in self._connection.execute(_OWED, self._known):
            name = f"batch jobs of {row.name} that are not collected"
            yield Spent(name, row.amount, row.since, row.since + window_s)

    def write(self) -> None:
        """Put on record what was set aside and booked."""
        mine = {"process": self._purse.id, "name": self._purse.name, "since": self._now}
        until = self._now + LEASE_S
        if self._leased and not self._connection.execute(_LEASE, self._until(self._leased)).rowcount:
            self._connection.execute(insert(_LEASES), {**mine, "until": until, "amount": self._leased})
        recent = {"recent": self._now - self._purse.window_s / _PARTS, "more": self._booked, **self._known}
        if self._booked and not self._connection.execute(_BOOK, recent).rowcount:
            self._connection.execute(insert(_SPENDING), {**mine, "until": self._now, "amount": self._booked})
        self._leased = self._booked = 0

    def _forgive(self, job: str) -> None:
        debt = self._connection.execute(_OWED_FOR, {**self._known, "paid": job}).first()
        self.spent -= debt.amount if debt else 0
        self._connection.execute(_FORGIVE, {"paid": job})

    def _until(self, more: int) -> dict[str, object]:
        return {"mine": self._purse.id, "more": more, "later": self._now + LEASE_S}

"""The record that all processes keep their limits by: short transactions, one after the other.

It lies in a file of SQLite, by the clock of the machine, in PostgreSQL, by the clock of its server, or in
this process's memory. A thread makes the transactions, and takes all changes that wait into one: so no event
loop waits for a disk, and many calls a second cost a few transactions.
"""

import atexit
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    Table,
    insert,
    select,
    text,
    update,
)

from resources.llm.limits_engine import engine_of, file_of, limits_error, url_of

METADATA = MetaData()
_MOMENT = "moment"


def moment(name: str, **options: Any) -> Column[float]:
    """Return a column of a time in seconds, which follows a clock that is set back."""
    return Column(name, Double, nullable=False, info={_MOMENT: True}, **options)


_CLOCK = Table("neuroscribe_clock", METADATA, Column("id", Integer, primary_key=True), moment("seen"))
_SET_BACK_S = 1.0
"""What processes may differ by in the order of their readings; a clock that is further back was set back."""
_PATIENCE_S = 20.0
_RENEWED_S = 15.0
"""How often what a process has renewed is renewed."""
_MOST_TOGETHER = 256

State = TypeVar("State")
Result = TypeVar("Result")


class Record(Protocol[State]):
    """Something on record: read once in a transaction, changed, and written once. Times are in seconds."""

    def read(self, connection: Connection, now: float) -> State:
        """Return it as it is on record."""
        ...

    def write(self, connection: Connection, now: float, state: State) -> None:
        """Put it on record."""
        ...


_Change = tuple[Record[Any], Callable[[Any, float], Any], Future[Any]]


class LimitsDatabase:
    """Makes changes in the order in which they come.

    `address` is a file, an SQLAlchemy address, or empty for this process's memory; there changes are made at
    once. Nothing is opened before the first change. Others' changes are waited for `patience_s` seconds.
    """

    def __init__(
        self, address: str = "", *, clock: Callable[[], float] = time.time, patience_s: float = _PATIENCE_S
    ) -> None:
        self._address, self._clock, self._patience_s = address, clock, patience_s
        self._engine: Engine | None = None
        self._turn = Lock()
        self._waiting = SimpleQueue[_Change | None]()
        self._thread: Thread | None = None
        self._renewals: list[tuple[Record[Any], Callable[[Any, float], Any]]] = []

    def changed(self, record: Record[State], change: Callable[[State, float], Result]) -> Future[Result]:
        """Return what will come of a change, which is called with what is on record and the time in seconds.

        That is a StoreError where the database cannot be used; nothing of the change is kept then.
        """
        future = Future[Result]()
        with self._turn:
            if not self._address:
                self._make([(record, change, future)])
            else:
                self._waiting.put((record, change, future))
                self._begin_thread()
        return future

    def renew(self, record: Record[State], change: Callable[[State, float], object]) -> None:
        """Have a change made every 15 seconds from now on, for as long as this process lives."""
        self._renewals.append((record, change))

    def close(self) -> None:
        """Make the changes that wait, and close."""
        with self._turn:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._waiting.put(None)
        if thread is not None:
            atexit.unregister(self.close)
            thread.join(2 * self._patience_s)
        elif self._engine is not None:
            self._engine.dispose()

    def _begin_thread(self) -> None:
        if self._thread is None:
            # What a process that ends has not given back yet would else count as spent.
            atexit.register(self.close)
            self._thread = Thread(target=self._work, name="limits of LLM calls", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        renewed = time.monotonic()
        ends = False
        while not ends:
            together, ends = self._together(max(0.0, renewed + _RENEWED_S - time.monotonic()))
            if time.monotonic() >= renewed + _RENEWED_S:
                renewed = time.monotonic()
                together += [(*renewal, Future()) for renewal in self._renewals]
            self._make(together)
        if self._engine is not None:
            self._engine.dispose()

    def _together(self, wait_s: float) -> tuple[list[_Change], bool]:
        """Return the changes that wait, once there are any, and whether they are the last."""
        together: list[_Change] = []
        with suppress(Empty):
            while len(together) < _MOST_TOGETHER:
                each = self._waiting.get(timeout=wait_s) if not together else self._waiting.get_nowait()
                if each is None:
                    return together, True
                together.append(each)
        return together, False

    def _make(self, together: list[_Change]) -> None:
        """Make some changes in one transaction: all or none."""
        together = [each for each in together if each[-1].set_running_or_notify_cancel()]
        if not together:
            return
        try:
            with self._opened().begin() as connection:
                now = self._now(connection)
                states = {
                    record: record.read(connection, now)
                    for record in dict.fromkeys(each[0] for each in together)
                }
                results = [change(states[record], now) for record, change, _ in together]
                for record, state in states.items():
                    record.write(connection, now, state)
        except Exception as error:
            for _, _, future in together:
                future.set_exception(limits_error(error, self._address))
        else:
            for (_, _, future), result in zip(together, results, strict=True):
                future.set_result(result)

    def _opened(self) -> Engine:
        url = url_of(self._address)
        path = file_of(url)
        if self._engine is not None and path is not None and not path.exists():
            self._engine.dispose()  # removed by who wants to begin anew
            self._engine = None
        if self._engine is None:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            engine = engine_of(url, self._patience_s)
            try:
                with engine.begin() as connection:
                    METADATA.create_all(connection)
            except Exception:
                engine.dispose()
                raise
            self._engine = engine
        return self._engine

    def _now(self, connection: Connection) -> float:
        """Return the time; all that is on record goes back with a clock that was set back.

        What is to begin in a second would else begin hours later.
        """
        if connection.dialect.name == "postgresql":
            now = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
        else:
            now = self._clock()
        seen = connection.scalar(select(_CLOCK.c.seen))
        if seen is None:
            connection.execute(insert(_CLOCK).values(id=0, seen=now))
        elif now < seen - _SET_BACK_S:
            for table in METADATA.sorted_tables:
                moments = {each.name: each + (now - seen) for each in table.c if each.info.get(_MOMENT)}
                connection.execute(update(table).values(moments))
        elif now > seen + _SET_BACK_S / 2:
            connection.execute(update(_CLOCK).values(seen=now))
        return now

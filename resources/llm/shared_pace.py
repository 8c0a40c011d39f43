"""The pace of calls to one server with one key, kept by all processes together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sqlalchemy import Column, Connection, String, Table, bindparam, insert, select, update

from neuroscribe.fingerprint import fingerprint
from resources.llm.limits import Pace, Times
from resources.llm.limits_database import METADATA, LimitsDatabase, moment

_PACES = Table(
    "neuroscribe_paces",
    METADATA,
    Column("account", String(64), primary_key=True),
    *(moment(name) for name in Times._fields),
)
_OF_ACCOUNT = _PACES.c.account == bindparam("whose")
_READ = select(*(_PACES.c[name] for name in Times._fields)).where(_OF_ACCOUNT)
_WRITE = update(_PACES).where(_OF_ACCOUNT).values({name: bindparam(name) for name in Times._fields})

Result = TypeVar("Result")


def account(url: str, key: str) -> str:
    """Return the name under which the pace of a server and a key is on record, which tells neither."""
    return fingerprint("pace of an account", url.rstrip("/"), key)


class SharedPace:
    """Places for requests in a row that is common to all processes, as in `Pace`; fulfils `Record`.

    Times on record are the database's, and waits are seconds, so that they need no clock of the event loop.
    """

    def __init__(
        self, database: LimitsDatabase, account: str, *, requests_per_minute: int, tokens_per_minute: int
    ) -> None:
        self._database, self._account = database, account
        self._pace = Pace(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
        self._counts_tokens = tokens_per_minute > 0

    async def turn(self, tokens: int) -> None:
        """Return when a request of so many tokens may start; raises StoreError for an unusable database."""
        start, wait_s = await self._place(tokens, None)
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            start, wait_s = await self._place(tokens, start)

    def correct(self, *, estimated: int, taken: int) -> None:
        """Give back the tokens that a request did not take, or take those beyond its estimate."""
        if self._counts_tokens:
            self._changed(lambda pace, _: pace.correct(estimated=estimated, taken=taken))

    def hold_for(self, seconds: float) -> None:
        """Let nothing start for so long: the server said so."""
        self._changed(lambda pace, now: pace.hold(now + seconds))

    async def _place(self, tokens: int, before: float | None) -> tuple[float, float]:
        """Return a place and the seconds until then: 0 once a place has come that still stands."""

        def placed(pace: Pace, now: float) -> tuple[float, float]:
            if before is not None and not pace.is_lost(before):
                return before, 0.0
            start = pace.start(now, tokens=tokens)
            return start, start - now

        return await asyncio.wrap_future(self._changed(placed))

    def _changed(self, change: Callable[[Pace, float], Result]) -> Future[Result]:
        return self._database.changed(self, change)

    def read(self, connection: Connection, now: float) -> Pace:
        """Return the pace as it is on record; with `write`, for the database's own thread."""
        row = connection.execute(_READ, {"whose": self._account}).first()
        self._pace.times = Times(*row) if row else Times()
        return self._pace

    def write(self, connection: Connection, now: float, state: Pace) -> None:
        """Put the pace on record."""
        whose = {"whose": self._account}
        if not connection.execute(_WRITE, {**state.times._asdict(), **whose}).rowcount:
            connection.execute(insert(_PACES), {**state.times._asdict(), "account": self._account})

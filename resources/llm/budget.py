"""The money that LLM calls may cost in a rolling window: one budget, whatever processes make them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from neuroscribe.errors import BudgetError
from resources.llm.limits_database import LimitsDatabase
from resources.llm.money import Money, Purse, Spent

VARIABLE, HOURS_VARIABLE = "NEUROSCRIBE_LLM_BUDGET_USD", "NEUROSCRIBE_LLM_BUDGET_HOURS"
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 0.4
"""How often a call that waits looks whether there is money now."""
_SHOWN = 3
"""Processes that a message names, those that have spent most."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Shortage:
    """There is no money for a call."""

    spent: list[Spent] | None
    """What has taken it; None while calls are under way that may cost less than was set aside for them."""


class Budget:
    """A limit in US dollars on all calls within any so many hours, of all processes that share a database."""

    def __init__(
        self, limit_usd: float, *, hours: float = 24.0, database: LimitsDatabase | None = None
    ) -> None:
        self.limit_usd, self._hours = limit_usd, hours
        self._database = database or LimitsDatabase()
        self._purse = Purse(3600.0 * hours)
        self._database.renew(self._purse, lambda money, _: money.renew())

    @property
    def spent_usd(self) -> float:
        """What counts as spent now, by whichever process."""
        return _usd(self._changed(lambda money, _: money.spent).result())

    async def reserve(self, estimate_usd: float) -> None:
        """Set money aside for a call, once there is enough; raises BudgetError when there never will be.

        It is raised only after this process's calls under way have come back, so that none of their answers
        is lost. For those of other processes it is waited where they may leave enough.
        """
        look_s = _FIRST_LOOK_S
        while shortage := await self._reserved(_amount(estimate_usd)):
            if shortage.spent is not None:
                raise BudgetError(self._message(shortage.spent, estimate_usd))
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LONGEST_LOOK_S)

    def settle(self, estimate_usd: float, spent_usd: float) -> None:
        """Book what a call has cost in place of what was set aside for it."""

        def settled(money: Money, _: float) -> None:
            money.reserve(-_amount(estimate_usd))
            money.book(_amount(spent_usd))

        self._changed(settled)

    def owe(self, job_id: str, usd: float) -> None:
        """Turn what was set aside for a job, which goes on without its run, into a debt that counts as spent.

        Any process may pay it.
        """

        def owed(money: Money, _: float) -> None:
            money.reserve(-_amount(usd))
            money.owe(job_id, _amount(usd))

        self._changed(owed)

    def pay(self, job_id: str, usd: float) -> None:
        """Book what the answers of a job have cost, in place of what any process owed for it."""
        self._changed(lambda money, _: money.pay(job_id, _amount(usd)))

    async def _reserved(self, amount: int) -> _Shortage | None:
        limit = _amount(self.limit_usd)

        def reserved(money: Money, _: float) -> _Shortage | None:
            if money.spent + money.under_way + amount <= limit:
                return money.reserve(amount)
            is_over = money.spent + amount > limit and not money.own
            return _Shortage(list(money.statement()) if is_over else None)

        future = self._changed(reserved)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: self._give_back(done, amount))
            raise

    def _changed(self, change: Callable[[Money, float], Result]) -> Future[Result]:
        return self._database.changed(self._purse, change)

    def _give_back(self, reserved: "Future[_Shortage | None]", amount: int) -> None:
        """Give back what was set aside all the same for a call that was cancelled meanwhile."""
        if not reserved.cancelled() and not reserved.exception() and reserved.result() is None:
            self.settle(_usd(amount), 0.0)

    def _message(self, spent: Sequence[Spent], estimate_usd: float) -> str:
        total = sum(each.amount for each in spent)
        hours = f"{self._hours:g} hour{'' if self._hours == 1 else 's'} ({HOURS_VARIABLE})"
        again = self._again(spent, total + _amount(estimate_usd))
        return (
            f"the budget for LLM calls, ${self.limit_usd:.2f} ({VARIABLE}) in any {hours}, is spent:"
            f" ${_usd(total):.4f} so far{_by_whom(spent)}, and the next call may cost ${estimate_usd:.4f};"
            f" {again}; all answers are kept, and the same command continues from here, at once with a larger"
            " budget"
        )

    def _again(self, spent: Sequence[Spent], wanted: int) -> str:
        """Return when there will be money, where `wanted` is what will have been spent with the call."""
        over = wanted - _amount(self.limit_usd)
        for each in sorted(spent, key=lambda each: each.leaves):
            over -= each.amount
            if over <= 0:
                return f"there will be enough from {_moment(each.leaves)} on"
        return "it is more than the whole budget"


class Reservation:
    """Money that is set aside for one question, for one attempt after the other; none without a budget."""

    def __init__(self, budget: Budget | None, estimate_usd: float) -> None:
        self.spent_usd = 0.0
        """What the attempts so far may have cost."""
        self._budget, self._estimate_usd = budget, estimate_usd
        self._is_held = False

    async def hold(self) -> None:
        """Set money aside for the next attempt, unless that of the last is still there; raises BudgetError.

        While it waits nothing is held for this question, so that questions never wait for each other's money.
        """
        if self._budget is not None and not self._is_held:
            await self._budget.reserve(self._estimate_usd)
            self._is_held = True

    def book(self, usd: float | None) -> None:
        """Count an attempt that was charged for; one of unknown cost may have cost all that was set aside."""
        self._settle(self._estimate_usd if usd is None else usd)

    def release(self) -> None:
        """Give back what no attempt has taken."""
        self._settle(0.0)

    def _settle(self, usd: float) -> None:
        self.spent_usd += usd
        if self._budget is not None and self._is_held:
            self._budget.settle(self._estimate_usd, usd)
        self._is_held = False


def _by_whom(spent: Sequence[Spent]) -> str:
    """Return who has spent most, and since when."""
    amounts: dict[str, int] = {}
    since: dict[str, float] = {}
    for each in spent:
        amounts[each.name] = amounts.get(each.name, 0) + each.amount
        since[each.name] = min(since.get(each.name, each.since), each.since)
    names = sorted(amounts, key=lambda name: -amounts[name])
    parts = [f"${_usd(amounts[name]):.4f} by {name} since {_moment(since[name])}" for name in names[:_SHOWN]]
    if others := names[_SHOWN:]:
        parts.append(f"${_usd(sum(amounts[name] for name in others)):.4f} by others")
    return f" ({', '.join(parts)})" if parts else ""


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def _amount(usd: float) -> int:
    """Return billionths of a dollar."""
    return round(1e9 * usd)


def _usd(amount: int) -> float:
    return amount / 1e9

"""Money that a process may spend on LLM calls; no call begins that might exceed it."""

import asyncio

from neuroscribe.errors import BudgetError

VARIABLE = "NEUROSCRIBE_LLM_BUDGET_USD"
_LOOK_S = 0.05


class Budget:
    """A limit in US dollars on all calls that share it."""

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self._under_way: list[float] = []
        self._owed: dict[str, float] = {}

    async def reserve(self, estimate_usd: float) -> None:
        """Set money aside for a call, once there is enough; raises BudgetError when there never will be.

        It is raised only after the calls under way have come back, so that none of their answers is lost.
        """
        while self.spent_usd + sum(self._under_way) + estimate_usd > self.limit_usd:
            if not self._under_way:
                raise BudgetError(
                    f"the budget for LLM calls, ${self.limit_usd:.2f} ({VARIABLE}), is spent:"
                    f" ${self.spent_usd:.4f} so far, and the next call may cost ${estimate_usd:.4f}; all"
                    " answers are kept, and the same command continues from here with a new budget"
                )
            await asyncio.sleep(_LOOK_S)
        self._under_way.append(estimate_usd)

    def settle(self, estimate_usd: float, spent_usd: float) -> None:
        """Book what a call has cost in place of what was set aside for it."""
        self._under_way.remove(estimate_usd)
        self.spent_usd += spent_usd

    def owe(self, job_id: str, usd: float) -> None:
        """Count as spent what a job may cost that goes on without its run, until it is paid for."""
        self._owed[job_id] = usd
        self.spent_usd += usd

    def pay(self, job_id: str, usd: float) -> None:
        """Book what the answers of a job have cost, in place of what was owed for it."""
        self.spent_usd += usd - self._owed.pop(job_id, 0.0)


class Reservation:
    """Money that is set aside for one question, for one attempt after the other; of no budget, none is."""

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

"""What holds calls to a server back: the budget, a server that is down, and its limits per minute."""

import asyncio
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

from neuroscribe.errors import BudgetError, LLMError
from resources.pace import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroscribe.ports.stores import Progress

VARIABLE = "NEUROSCRIBE_LLM_BUDGET_USD"
_LOOK_FOR_MONEY_S = 0.05


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
            await asyncio.sleep(_LOOK_FOR_MONEY_S)
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


FAILURES = 5
"""Failures in a row, across all calls, after which a server counts as down."""
_FIRST_PROBE_S, _LONGEST_S = 1.0, 60.0
_LOOK_S = 0.5
"""How often a waiting call looks whether the server is back."""


class Circuit:
    """The state of one server for all calls to it; times are those of the running event loop.

    After five failures in a row calls wait, and one at a time tries the server, at growing intervals. A
    server that is down for longer than `patience_s` ends the run with an LLMError.
    """

    def __init__(self, url: str, *, patience_s: float, generator: random.Random) -> None:
        self._url, self._patience_s, self._generator = url, patience_s, generator
        self._failures = 0
        self._down_since: float | None = None
        self._probe_at = self._interval = 0.0
        self._probing = False
        self._reason = ""
        self._shown = ExitStack()
        self._advance: Callable[..., None] | None = None
        self._advanced_to = 0

    @property
    def is_open(self) -> bool:
        """Whether the server counts as down."""
        return self._down_since is not None

    async def turn(self, progress: "Progress | None") -> bool:
        """Return when a call may be tried, and whether it is the one that tries a server that is down.

        Raises LLMError when the server stays down for too long.
        """
        while self._down_since is not None:
            now = asyncio.get_running_loop().time()
            self._show(now, progress)
            if now - self._down_since > self._patience_s:
                self._close()
                raise LLMError(
                    f"the LLM server at {self._url} has been down for {duration(self._patience_s)}"
                    f" ({self._reason}); all answers so far are kept: run the same command again when it is"
                    " well"
                )
            if not self._probing and now >= self._probe_at:
                self._probing = True
                return True
            due = _LOOK_S if self._probing else self._probe_at - now
            await asyncio.sleep(min(_LOOK_S, due))
        return False

    def failed(self, reason: str, *, probe: bool) -> None:
        """Take note that a call found the server down."""
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self._reason = reason
        if self._down_since is None and self._failures >= FAILURES:
            self._down_since, self._interval = now, _FIRST_PROBE_S
            self._probe_at = now + self._interval
        elif probe:
            self._probing = False
            self._interval = min(2 * self._interval, _LONGEST_S)
            self._probe_at = now + self._interval * self._generator.uniform(0.75, 1.0)

    def passed(self) -> None:
        """Take note that the server answered, be it with a refusal."""
        self._failures = 0
        if self._down_since is not None:
            self._close()

    def left(self, *, probe: bool) -> None:
        """Take note that a call ended without showing whether the server is well."""
        self._probing = self._probing and not probe

    def _close(self) -> None:
        self._down_since, self._probing, self._failures = None, False, 0
        self._advance = None
        self._shown.close()

    def _show(self, now: float, progress: "Progress | None") -> None:
        assert self._down_since is not None
        if progress is None:
            return
        if self._advance is None:
            label = f"wait for the LLM server at {self._url}"
            task = progress.task(label, total=round(self._patience_s), unit="seconds")
            self._advance, self._advanced_to = self._shown.enter_context(task), 0
        gone = round(now - self._down_since)
        self._advance(gone - self._advanced_to, note=f"down: {self._reason}")
        self._advanced_to = gone


_SHARE = 0.99
"""Of a limit that is used: servers count by arrival, which the network shifts."""
_TOKENS_OF_A_CHAT = 32
"""Tokens of a request that are not its text: roles, templates."""
_FIRST_GUESS = 0.5
"""Tokens per character before any answer has told; English prose has a quarter."""
_SHORTEST_PROMPT = 200
"""Characters; shorter prompts say little about tokens per character."""


class Pace:
    """When the next request may start; 0 for a limit means that there is none.

    Several servers' clients may share one, for limits are the account's.
    """

    def __init__(self, *, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._seconds_per_request = 60 / (_SHARE * requests_per_minute) if requests_per_minute else 0.0
        self._seconds_per_token = 60 / (_SHARE * tokens_per_minute) if tokens_per_minute else 0.0
        self._next_by_requests = self._next_by_tokens = self._held_until = 0.0

    def start(self, now: float, *, tokens: int) -> float:
        """Return when a request of so many tokens may start, and keep that place for it."""
        start = max(now, self._next_by_requests, self._next_by_tokens, self._held_until)
        self._next_by_requests = start + self._seconds_per_request
        self._next_by_tokens = max(start, self._next_by_tokens) + tokens * self._seconds_per_token
        return start

    def correct(self, *, estimated: int, taken: int) -> None:
        """Give back the tokens that a request did not take, or take those beyond its estimate."""
        self._next_by_tokens += (taken - estimated) * self._seconds_per_token

    def hold(self, until: float) -> None:
        """Let nothing start before `until`: the server said so."""
        self._held_until = max(self._held_until, until)

    def is_lost(self, start: float) -> bool:
        """Tell whether a hold has overtaken a place; all that lost theirs would else start at its end."""
        return start < self._held_until


class TokenGuess:
    """How many tokens a prompt will take, learnt from those before it; rather too many than too few."""

    def __init__(self) -> None:
        self._per_character: float | None = None

    def tokens(self, characters: int) -> int:
        """Return the tokens that a prompt of so many characters may take."""
        rate = _FIRST_GUESS if self._per_character is None else self._per_character
        return _TOKENS_OF_A_CHAT + round(rate * characters)

    def learn(self, characters: int, tokens: int) -> None:
        """Take note of what a prompt took."""
        if characters >= _SHORTEST_PROMPT and tokens:
            rate = max(0, tokens - _TOKENS_OF_A_CHAT) / characters
            self._per_character = max(rate, self._per_character or 0.0)

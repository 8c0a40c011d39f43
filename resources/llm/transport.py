"""One question to a server, with as many attempts as it takes: at the server's pace, within the budget.

What the server may yet answer is tried again; what it will never answer raises at once.
"""

import asyncio
import copy
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.stores import Progress
from resources.llm.budget import Budget, Reservation
from resources.llm.faults import UnansweredError, WithheldError
from resources.llm.limits import Circuit, Pace, TokenGuess
from resources.llm.prices import Prices
from resources.llm.shared_pace import SharedPace
from resources.llm.wires import Body, Request
from resources.pace import duration

if TYPE_CHECKING:
    from resources.llm.http import Client, Connection

_FIRST_S, _LONGEST_S = 0.5, 60.0


def backoff_s(attempt: int, generator: random.Random, *, asked_s: float | None = None) -> float:
    """Return the seconds before the attempt that follows the `attempt`-th (from 1).

    They double up to a minute and vary by up to a quarter, so that calls that failed together do not come
    back together. What the server asks for is never undercut; but one that asks for less (some say 0 whatever
    happens) does not have all attempts at once.
    """
    wait = min(_LONGEST_S, _FIRST_S * 2.0 ** (attempt - 1)) * generator.uniform(0.75, 1.0)
    if asked_s is None:
        return wait
    return max(wait, asked_s + generator.uniform(0.0, min(1.0, 0.1 * asked_s)))


_HASTY_RETRIES = 2


@dataclass
class Drive:
    """How hard a server may be driven; what is shared by all clients of one server and one account."""

    pace: Pace | SharedPace = field(default_factory=Pace)
    circuit: Circuit | None = None
    budget: Budget | None = None
    max_retries: int = 8
    patience_s: float = 1800.0
    """How long to wait for a server that is down, or that asks to wait."""


class Transport:
    """Questions to one server; `seed` varies the waits before retries."""

    def __init__(
        self, client: "Client", drive: Drive, *, prices: Prices, progress: Progress | None, seed: int = 0
    ) -> None:
        self._client, self._drive, self._prices, self._progress = client, drive, prices, progress
        self._wire = client.endpoint.wire
        self._generator = random.Random(seed)  # noqa: S311 - spreads retries
        self._guess = TokenGuess()
        self._max_retries = drive.max_retries
        url, patience_s = client.endpoint.url, drive.patience_s
        self._circuit = drive.circuit or Circuit(url, patience_s=patience_s, generator=self._generator)
        self._waits = True

    def hasty(self) -> "Transport":
        """Return the same with few retries, and no wait but for a server that says it is not ready yet.

        So mistakes are found early: at a wrong address nothing answers so.
        """
        hasty = copy.copy(self)
        hasty._max_retries, hasty._waits = min(_HASTY_RETRIES, self._max_retries), False
        return hasty

    async def answered(self, request: Request) -> tuple[Body, Usage]:
        """Return a whole answer and what it took.

        Raises UnansweredError after the last attempt, WithheldError for a prompt that is turned away,
        BudgetError where money is short, and LLMError where no later attempt could succeed.
        """
        prompt = self._guess.tokens(request.characters)
        worst = self._prices.cost(Usage(prompt_tokens=prompt, completion_tokens=request.max_tokens)) or 0.0
        money = Reservation(self._drive.budget, worst)
        try:
            # First the slot, then the money: retries wait for money in their slots, so that calls that held
            # money and waited for a slot would block them for ever.
            async with self._client.slot() as connection:
                await money.hold()
                begun = asyncio.get_running_loop().time()
                body = await self._until_answered(
                    connection, request, prompt + request.max_tokens, money, begun
                )
                latency_s = asyncio.get_running_loop().time() - begun
            usage = self._wire.usage(body, self._prices)
            self._guess.learn(request.characters, usage.prompt_tokens)
            money.book(usage.cost_usd)
            return body, replace(usage, latency_s=latency_s)
        finally:
            money.release()

    async def _until_answered(
        self, connection: "Connection", request: Request, tokens: int, money: Reservation, begun: float
    ) -> Body:
        attempt, waits = 0, self._waits
        while True:
            await money.hold()
            try:
                return await self._attempt(connection, request, tokens, waits=waits)
            except UnansweredError as error:
                if error.billed:
                    money.book(None)
                waits = self._waits or error.not_ready
                # A server that is down is not this question's fault.
                attempt += not (error.not_ready if not self._waits else error.down and self._circuit.is_open)
                if attempt > self._max_retries:
                    raise self._given_up(error, money, begun) from None
                await self._pause(error, attempt)

    async def _attempt(self, connection: "Connection", request: Request, tokens: int, *, waits: bool) -> Body:
        probe = await self._circuit.turn(self._progress) if waits else False
        shown = False
        try:
            await self._drive.pace.turn(tokens)
            body = Body(await self._client.posted(connection, request.path, request.body))
            shown = True
        except UnansweredError as error:
            if error.down:
                self._circuit.failed(str(error), probe=probe)
            else:
                shown = not error.billed
            raise
        except (LLMError, WithheldError):
            shown = True
            raise
        finally:
            if shown:
                self._circuit.passed()
            else:
                self._circuit.left(probe=probe)
        if body.is_truncated or self._wire.broke_off(body):
            raise UnansweredError(body.text, billed=True)
        self._correct(body, tokens)
        return body

    def _correct(self, body: Body, tokens: int) -> None:
        usage = self._wire.usage(body, self._prices)
        if taken := usage.prompt_tokens + usage.completion_tokens:
            self._drive.pace.correct(estimated=tokens, taken=taken)

    async def _pause(self, error: UnansweredError, attempt: int) -> None:
        """Wait before the next attempt; raises LLMError where the server asks to wait for too long."""
        asked_s = error.retry_after_s
        if asked_s is not None and asked_s > self._drive.patience_s:
            raise LLMError(
                f"{self._client.endpoint.url} asks to wait {duration(asked_s)} ({error}); all answers so far"
                " are kept: run the same command again then"
            )
        wait_s = backoff_s(max(1, attempt), self._generator, asked_s=asked_s)
        if asked_s is not None:
            self._drive.pace.hold_for(asked_s)
        await asyncio.sleep(wait_s)

    def _given_up(self, error: UnansweredError, money: Reservation, begun: float) -> Exception:
        if error.unreachable:
            return LLMError(error.unreachable)
        cost = 0.0 if self._prices.known and not money.spent_usd else None
        error.usage = Usage(cost_usd=cost, latency_s=asyncio.get_running_loop().time() - begun)
        return error

"""Asks once: an answer is stored under the hash of its question before anything else happens to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from neuroscribe.errors import CapabilityError, StoreError
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, NextToken
from neuroscribe.ports.stores import CallStore

Item = TypeVar("Item")
Result = TypeVar("Result")
ABOUT = "about"
"""Under this name it is stored what a call was made for."""
InFlight = dict[str, "asyncio.Task[dict[str, Any]]"]
"""Questions being asked, by key."""


async def answered_once(
    key: str,
    calls: CallStore,
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    read: Callable[[dict[str, Any]], Result],
    keep: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    in_flight: InFlight | None = None,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Return the stored answer for `key` as it is `read`, or make the call and store its answer.

    Answers that `keep` turns down (failures that may pass) are returned but not stored, so that the next run
    asks again. Callers that share `in_flight` share the answer to a question that several ask at once. What
    the call was made for, `about`, is stored with the answer for the ledger, and is no part of it.
    Raises StoreError for a stored answer that cannot be read: somebody has changed it.
    """
    stored = calls.get(key)
    if stored is not None:
        return _read(key, {name: value for name, value in stored.items() if name != ABOUT}, read)
    asked = partial(_asked, key, calls, call, keep, about or {})
    if in_flight is None:
        return read(await asked())
    if key not in in_flight:
        in_flight[key] = asyncio.ensure_future(asked())
        in_flight[key].add_done_callback(lambda _: in_flight.pop(key, None))
    return read(dict(await in_flight[key]))


async def worked_through(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], *, at_once: int
) -> list[Result]:
    """Return the results of all items in their order, with at most `at_once` under way at a time.

    The first error ends the work: what is under way is cancelled, nothing further is begun. It is raised
    once all has come to rest, that is with the answers stored that had come.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for place, item in waiting:
            results[place] = await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[place] for place in range(len(items))]


def _read(key: str, stored: dict[str, Any], read: Callable[[dict[str, Any]], Result]) -> Result:
    try:
        return read(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"the stored answer {key}: holds something else than was asked for ({type(error).__name__}:"
            f" {error}); delete its file among the store's calls, and the call is made again"
        ) from error


async def _asked(
    key: str,
    calls: CallStore,
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    keep: Callable[[Mapping[str, Any]], bool],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    answer = dict(await call())
    if keep(answer):
        await _stored(calls, key, {**answer, ABOUT: dict(about)} if about else answer)
    return answer


async def _stored(calls: CallStore, key: str, answer: Mapping[str, Any]) -> None:
    """Store an answer, even if the call is cancelled meanwhile: it has been paid for."""
    # In a thread: the disk takes longer than all else here, and the other calls go on meanwhile. No task of
    # its own, which would be cancelled with all others; the end of the event loop waits for its threads.
    writing = asyncio.get_running_loop().run_in_executor(None, calls.put, key, answer)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def first_token(scorer: NextTokenScorer, messages: Sequence[Message]) -> NextToken:
    """Return the likeliest first tokens of an answer; a model that cannot tell here has failed here alone.

    It was probed before the run: what it cannot do now has to do with this question.
    """
    try:
        return await scorer.next_token(messages)
    except CapabilityError as error:
        return NextToken({}, "failed", str(error))

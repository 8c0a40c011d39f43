"""Asks once: an answer is stored under the hash of its question before anything else happens to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from neuroscribe.ports import CallStore

Item = TypeVar("Item")
Result = TypeVar("Result")
InFlight = dict[str, "asyncio.Task[dict[str, Any]]"]
"""Questions being asked, by key."""


async def answered_once(
    key: str,
    calls: CallStore,
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    keep: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    in_flight: InFlight | None = None,
) -> dict[str, Any]:
    """Return the stored answer for `key`, or make the call and store its answer.

    Answers that `keep` turns down (failures that may pass) are returned but not stored, so that the next
    run asks again. Callers that share `in_flight` share the answer to a question that several ask at once.
    """
    stored = calls.get(key)
    if stored is not None:
        return dict(stored)
    if in_flight is None:
        return await _asked(key, calls, call, keep)
    if key not in in_flight:
        in_flight[key] = asyncio.ensure_future(_asked(key, calls, call, keep))
        in_flight[key].add_done_callback(lambda _: in_flight.pop(key, None))
    return dict(await in_flight[key])


async def worked_through(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], *, at_once: int
) -> list[Result]:
    """Return the results of all items in their order, with at most `at_once` under way at a time.

    The first error ends the work: what is under way is cancelled, nothing further is begun.
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
    return [results[place] for place in range(len(items))]


async def _asked(
    key: str,
    calls: CallStore,
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    keep: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    answer = dict(await call())
    if keep(answer):
        calls.put(key, answer)
    return answer

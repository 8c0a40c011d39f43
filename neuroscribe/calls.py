"""Asks once: an answer is stored under the hash of its question before anything else happens to it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from neuroscribe.ports import CallStore


async def answered_once(
    key: str,
    calls: CallStore,
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    keep: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return the stored answer for `key`, or make the call and store its answer.

    Answers that `keep` turns down (failures that may pass) are returned but not stored, so that the next
    run asks again.
    """
    stored = calls.get(key)
    if stored is not None:
        return dict(stored)
    answer = dict(await call())
    if keep(answer):
        calls.put(key, answer)
    return answer

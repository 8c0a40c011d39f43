import asyncio

import pytest

from neuroscribe.calls import InFlight, answered_once, worked_through
from neuroscribe.testing.stores import MemoryCalls


class Asked:
    """Answers with how often it was asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self._fails = fails

    async def __call__(self) -> dict[str, object]:
        self.times += 1
        await asyncio.sleep(0)
        if self._fails:
            raise ConnectionError("the server went away")
        return {"times": self.times}


def test_a_stored_answer_is_not_asked_for_again() -> None:
    calls, call = MemoryCalls(), Asked()
    assert asyncio.run(answered_once("k", calls, call)) == {"times": 1}
    assert asyncio.run(answered_once("k", calls, call)) == {"times": 1}
    assert calls.answers == {"k": {"times": 1}}


def test_an_answer_that_is_turned_down_is_returned_and_not_stored() -> None:
    calls, call = MemoryCalls(), Asked()
    assert asyncio.run(answered_once("k", calls, call, keep=lambda answer: False)) == {"times": 1}
    assert calls.answers == {}
    assert asyncio.run(answered_once("k", calls, call)) == {"times": 2}


def test_the_same_question_asked_at_once_is_paid_for_once() -> None:
    calls, call = MemoryCalls(), Asked()
    in_flight: InFlight = {}

    async def twice() -> list[dict[str, object]]:
        return await asyncio.gather(*(answered_once("k", calls, call, in_flight=in_flight) for _ in range(2)))

    assert asyncio.run(twice()) == [{"times": 1}, {"times": 1}]
    assert call.times == 1


def test_a_call_that_fails_is_not_stored() -> None:
    calls = MemoryCalls()
    with pytest.raises(ConnectionError):
        asyncio.run(answered_once("k", calls, Asked(fails=True), in_flight={}))
    assert calls.answers == {}


def test_results_keep_the_order_of_items_and_no_more_run_at_once_than_allowed() -> None:
    under_way = most = 0

    async def work(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(item % 3):
            await asyncio.sleep(0)
        under_way -= 1
        return item * item

    results = asyncio.run(worked_through(range(20), work, at_once=4))

    assert results == [item * item for item in range(20)]
    assert most == 4


def test_the_first_error_ends_the_work_and_nothing_further_is_begun() -> None:
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 2:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(worked_through(range(50), work, at_once=2))
    assert len(begun) < 8

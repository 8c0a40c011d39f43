import asyncio
import threading
import time
from collections.abc import Mapping

import pytest

from neuroscribe.errors import StoreError
from neuroscribe.llm.calls import InFlight, answered_once, worked_through
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
    assert asyncio.run(answered_once("k", calls, call, read=dict)) == {"times": 1}
    assert asyncio.run(answered_once("k", calls, call, read=dict)) == {"times": 1}
    assert calls.answers == {"k": {"times": 1}}


@pytest.mark.parametrize("stored", [{"other": 1}, {"times": None}, {"times": "often"}])
def test_a_stored_answer_that_somebody_changed_is_named_and_not_asked_for_again(
    stored: dict[str, object],
) -> None:
    calls, call = MemoryCalls(), Asked()
    calls.put("k", stored)
    with pytest.raises(StoreError, match=r"the stored answer k: holds something else .* delete its file"):
        asyncio.run(answered_once("k", calls, call, read=lambda answer: int(answer["times"])))
    assert call.times == 0


def test_an_answer_that_is_turned_down_is_returned_and_not_stored() -> None:
    calls, call = MemoryCalls(), Asked()
    assert asyncio.run(answered_once("k", calls, call, read=dict, keep=lambda answer: False)) == {"times": 1}
    assert calls.answers == {}
    assert asyncio.run(answered_once("k", calls, call, read=dict)) == {"times": 2}


def test_the_same_question_asked_at_once_is_paid_for_once() -> None:
    calls, call = MemoryCalls(), Asked()
    in_flight: InFlight = {}

    async def twice() -> list[dict[str, object]]:
        return await asyncio.gather(
            *(answered_once("k", calls, call, read=dict, in_flight=in_flight) for _ in range(2))
        )

    assert asyncio.run(twice()) == [{"times": 1}, {"times": 1}]
    assert call.times == 1


def test_a_call_that_fails_is_not_stored() -> None:
    calls = MemoryCalls()
    with pytest.raises(ConnectionError):
        asyncio.run(answered_once("k", calls, Asked(fails=True), read=dict, in_flight={}))
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


class SlowCalls(MemoryCalls):
    """A store that takes its time, and that waits until it is `reached`."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        self.reached.wait(5)
        time.sleep(0.01)
        super().put(key, answer)


@pytest.mark.parametrize("in_flight", [None, {}])
def test_answers_that_came_before_an_error_are_stored_by_the_time_it_is_raised(
    in_flight: InFlight | None,
) -> None:
    calls, call = SlowCalls(), Asked()

    async def work(item: int) -> None:
        if item == 40:
            await asyncio.sleep(0.01)
            calls.reached.set()
            raise ConnectionError("gone")
        await answered_once(f"{item // 2}", calls, call, read=dict, in_flight=in_flight)

    async def stored() -> list[str]:
        with pytest.raises(ConnectionError, match="gone"):
            await worked_through(range(50), work, at_once=41)
        return list(calls.keys())

    assert len(asyncio.run(stored())) == 20


def test_answers_that_came_are_stored_even_if_the_run_is_interrupted_twice() -> None:
    calls = SlowCalls()

    async def interrupted() -> None:
        asked = [
            asyncio.ensure_future(answered_once(f"{item}", calls, Asked(), read=dict)) for item in range(60)
        ]
        for _ in range(2):
            await asyncio.sleep(0.01)
            for each in asked:
                each.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
        calls.reached.set()

    asyncio.run(interrupted())
    assert len(calls.answers) == 60

import asyncio

import pytest

from neuroscribe.calls import InFlight, answered_once
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

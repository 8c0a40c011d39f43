import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from neuroscribe.errors import StoreError
from neuroscribe.llm.calls import Form, Once, answer_form, worked_through
from neuroscribe.ports.replies import Message, NextToken
from neuroscribe.testing.stores import MemoryCalls

AS_IT_IS: Form[dict[str, Any]] = Form(dict, dict)


class Asked:
    """Answers with how often it was asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self._fails = fails

    async def __call__(self) -> dict[str, Any]:
        self.times += 1
        await asyncio.sleep(0)
        if self._fails:
            raise ConnectionError("the server went away")
        return {"times": self.times}


def test_a_stored_answer_is_not_asked_for_again() -> None:
    calls, call = MemoryCalls(), Asked()
    assert asyncio.run(Once(calls).answer("k", call, AS_IT_IS)) == {"times": 1}
    assert asyncio.run(Once(calls).answer("k", call, AS_IT_IS)) == {"times": 1}
    assert calls.answers == {"k": {"times": 1}}


@pytest.mark.parametrize("stored", [{"other": 1}, {"times": None}, {"times": "often"}])
def test_a_stored_answer_that_somebody_changed_is_named_and_not_asked_for_again(
    stored: dict[str, Any],
) -> None:
    calls, call = MemoryCalls(), Asked()
    calls.put("k", stored)
    numbered = Form(dict, lambda answer: {"times": int(answer["times"])})
    with pytest.raises(StoreError, match=r"the stored answer k: holds something else .* remove its file"):
        asyncio.run(Once(calls).answer("k", call, numbered))
    assert call.times == 0


def test_what_a_call_is_for_and_what_was_sent_are_stored_beside_its_answer_and_are_no_part_of_it() -> None:
    calls, call = MemoryCalls(), Asked()
    once, prompt = Once(calls, {"stage": "explanation", "layer": 3}), [Message("user", "why?")]
    for _ in range(2):
        assert asyncio.run(once.answer("k", call, AS_IT_IS, prompt=prompt)) == {"times": 1}
    about = {"stage": "explanation", "layer": 3}
    assert calls.answers == {"k": {"times": 1, "prompt": [["user", "why?"]], "about": about}}


def test_an_answer_that_a_newer_version_wrote_is_said_to_be_one() -> None:
    calls, call = MemoryCalls(), Asked()
    calls.put("k", {"top_logprobs": {}, "status": "ok", "usage": {}, "certainty": 0.5})
    with pytest.raises(StoreError, match="of 'certainty' this version knows nothing: a newer one wrote it"):
        asyncio.run(Once(calls).answer("k", call, answer_form(NextToken)))
    assert call.times == 0


def test_an_answer_that_is_turned_down_is_returned_and_not_stored() -> None:
    calls, call = MemoryCalls(), Asked()
    turned_down = Form(dict, dict, is_final=lambda _: False)
    assert asyncio.run(Once(calls).answer("k", call, turned_down)) == {"times": 1}
    assert calls.answers == {}
    assert asyncio.run(Once(calls).answer("k", call, AS_IT_IS)) == {"times": 2}


def test_the_same_question_asked_at_once_is_paid_for_once() -> None:
    calls, call = MemoryCalls(), Asked()
    once = Once(calls)

    async def twice() -> list[dict[str, Any]]:
        return await asyncio.gather(*(once.answer("k", call, AS_IT_IS) for _ in range(2)))

    assert asyncio.run(twice()) == [{"times": 1}, {"times": 1}]
    assert call.times == 1


def test_a_call_that_fails_is_not_stored() -> None:
    calls = MemoryCalls()
    with pytest.raises(ConnectionError):
        asyncio.run(Once(calls).answer("k", Asked(fails=True), AS_IT_IS))
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


@pytest.mark.parametrize("is_shared", [False, True])
def test_answers_that_came_before_an_error_are_stored_by_the_time_it_is_raised(*, is_shared: bool) -> None:
    calls, call = SlowCalls(), Asked()
    shared = Once(calls)

    async def work(item: int) -> None:
        if item == 40:
            await asyncio.sleep(0.01)
            calls.reached.set()
            raise ConnectionError("gone")
        once = shared if is_shared else Once(calls)
        await once.answer(f"{item // 2}", call, AS_IT_IS)

    async def stored() -> list[str]:
        with pytest.raises(ConnectionError, match="gone"):
            await worked_through(range(50), work, at_once=41)
        return list(calls.keys())

    assert len(asyncio.run(stored())) == 20


def test_answers_that_came_are_stored_even_if_the_run_is_interrupted_twice() -> None:
    calls = SlowCalls()

    async def interrupted() -> None:
        once = Once(calls)
        asked = [asyncio.ensure_future(once.answer(f"{item}", Asked(), AS_IT_IS)) for item in range(60)]
        for _ in range(2):
            await asyncio.sleep(0.01)
            for each in asked:
                each.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
        calls.reached.set()

    asyncio.run(interrupted())
    assert len(calls.answers) == 60

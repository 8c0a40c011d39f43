"""Batch jobs through a real HTTP server: submitted once, waited for, collected, found again."""

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from neuroscribe.errors import BatchPendingError, BudgetError, LLMError
from neuroscribe.explain.parsing import SCHEMA
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.ports.stores import CallStore
from neuroscribe.study.spec import LLMSpec
from neuroscribe.testing.server_batches import Batches
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import Interrupted, MemoryCalls
from resources.llm.batches import BatchedServer
from resources.llm.budget import Budget
from resources.llm.prices import Prices, batch_prices
from resources.llm.server import OpenAIServer

PRICES = Prices(prompt=1000.0, completion=2000.0)


class Echo:
    """Says back the last word of a prompt, or always the same."""

    def __init__(self, said: str = "") -> None:
        self.said = said

    def reply(self, prompt: str) -> str:
        return self.said or prompt.split()[-1]

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError


class Time:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def clock(self) -> float:
        return self.now


def batched(
    server: ScriptedServer,
    calls: CallStore,
    *,
    wait_s: float = 3600.0,
    time: Time | None = None,
    key: str = "",
    **options: Any,
) -> BatchedServer:
    passing = time or Time()
    llm = OpenAIServer("scripted", base_url=server.base_url, api_key=key)
    return BatchedServer(
        llm, calls, wait_s=wait_s, sleep=passing.sleep, clock=passing.clock, prices=PRICES, **options
    )


def asked(llm: BatchedServer, words: Sequence[str], **options: Any) -> list[Reply]:
    async def one(word: str) -> Reply:
        turns = [Message("user", f"say {word}")]
        return await llm.reply(turns, max_tokens=5, temperature=0.0, seed=0, **options)

    async def every() -> list[Reply]:
        return list(await asyncio.gather(*(one(word) for word in words)))

    return asyncio.run(every())


def texts(replies: Sequence[Reply]) -> list[str | None]:
    return [reply.text for reply in replies]


def test_questions_that_come_together_are_one_job_and_each_gets_its_answer():
    jobs, words = Batches(looks=3), [f"word{number}" for number in range(40)]
    with ScriptedServer(Echo(), batches=jobs) as server:
        replies = asked(batched(server, MemoryCalls()), words)
    assert texts(replies) == words
    assert list(jobs.jobs) == ["batch_0"]
    line = jobs.lines("batch_0")[7]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"] == {
        "model": "scripted", "messages": [{"role": "user", "content": "say word7"}],
        "temperature": 0.0, "seed": 0, "max_tokens": 5,
    }  # fmt: skip
    assert len({line["custom_id"] for line in jobs.lines("batch_0")}) == 40
    assert jobs.jobs["batch_0"]["completion_window"] == "24h"
    # "say word7" are two tokens, and its answer is one.
    assert (replies[7].usage.prompt_tokens, replies[7].usage.completion_tokens) == (2, 1)
    assert replies[7].usage.cost_usd == pytest.approx((2 * 1000 + 2000) / 1e6)


def test_the_same_question_twice_is_one_line():
    jobs = Batches()
    with ScriptedServer(Echo(), batches=jobs) as server:
        assert texts(asked(batched(server, MemoryCalls()), ["one", "one", "two"])) == ["one", "one", "two"]
    assert len(jobs.lines("batch_0")) == 2


def test_more_than_a_job_takes_are_several_jobs():
    jobs = Batches(looks=2)
    with ScriptedServer(Echo(), batches=jobs) as server:
        words = ["a", "b", "c", "d", "e"]
        assert texts(asked(batched(server, MemoryCalls(), lines_per_job=2), words)) == words
    assert [len(jobs.lines(job)) for job in jobs.jobs] == [2, 2, 1]


def test_a_run_that_ends_before_its_job_finds_it_again_and_submits_nothing_twice():
    jobs, calls = Batches(looks=3), MemoryCalls()
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(
            BatchPendingError, match=r"batch_0 \(0 of 2 requests done\).*same command continues"
        ):
            asked(batched(server, calls, wait_s=0.0), ["one", "two"])
        assert server.count("/v1/batches/batch_0") == 0
        # The next run looks once, and may have more to ask.
        with pytest.raises(BatchPendingError, match=r"batch_0 .*batch_1 \(0 of 1"):
            asked(batched(server, calls, wait_s=0.0), ["one", "two", "three"])
        assert texts(asked(batched(server, calls), ["two", "one", "three"])) == ["two", "one", "three"]
    assert {job: len(jobs.lines(job)) for job in jobs.jobs} == {"batch_0": 2, "batch_1": 1}


def test_what_ended_while_nobody_waited_is_collected_at_once():
    jobs, calls = Batches(looks=1), MemoryCalls()
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(BatchPendingError):
            asked(batched(server, calls, wait_s=0.0), ["one"])
        time = Time()
        assert texts(asked(batched(server, calls, wait_s=0.0, time=time), ["one"])) == ["one"]
    assert len(jobs.jobs) == 1
    assert time.now < 1


class KilledCalls(MemoryCalls):
    """A store whose n-th write is the run's last."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def put(self, key: str, answer: Any) -> None:
        if not self.left:
            raise Interrupted
        self.left -= 1
        super().put(key, answer)


@pytest.mark.parametrize("writes", range(5))
def test_a_kill_at_any_moment_of_the_submission_submits_nothing_twice(writes: int):
    # A record of the job, one of each of two requests, and the server's id for the job.
    jobs, calls = Batches(looks=2), KilledCalls(writes)
    with ScriptedServer(Echo(), batches=jobs) as server:
        if writes < 4:
            with pytest.raises(Interrupted):
                asked(batched(server, calls), ["one", "two"])
            assert len(jobs.jobs) == (writes == 3)
        calls.left = 99
        assert texts(asked(batched(server, calls), ["one", "two"])) == ["one", "two"]
    assert len(jobs.jobs) == 1


def test_a_submission_whose_answer_is_lost_is_found_and_not_repeated():
    jobs = Batches()
    with ScriptedServer(Echo(), batches=jobs) as server:
        lost = ScriptedFault(cut_at=10)
        # The upload is answered, the submission's answer is cut off.
        server.faults = [ScriptedFault(), lost]
        assert texts(asked(batched(server, MemoryCalls()), ["one"])) == ["one"]
        assert server.count("/v1/batches") == server.count("/v1/batches?limit=100") == 1
    assert len(jobs.jobs) == 1


NO_DESCRIPTIONS = {
    "page": ScriptedFault.page(),
    "cut JSON": ScriptedFault(200, '{"id": "batch_0", "sta'),
    "nothing": ScriptedFault(200, ""),
    "null": ScriptedFault(200, "null"),
    "error": ScriptedFault(200, '{"error": {"message": "overloaded"}}'),
}


ONE, LOST = ScriptedFault(), ScriptedFault(cut_at=10)
BEFORE: dict[str, list[ScriptedFault]] = {
    "uploaded": [],
    "submitted": [ONE],
    "found again": [ONE, LOST],
    "looked at": [ONE, ONE],
}


@pytest.mark.parametrize("sent", NO_DESCRIPTIONS.values(), ids=NO_DESCRIPTIONS)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_a_success_that_describes_no_job_is_tried_again_and_nothing_submitted_twice(
    before: list[ScriptedFault], sent: ScriptedFault
):
    jobs = Batches()
    with ScriptedServer(Echo(), batches=jobs, faults=[*before, sent]) as server:
        assert texts(asked(batched(server, MemoryCalls()), ["one"])) == ["one"]
    assert len(jobs.jobs) == 1


@pytest.mark.parametrize("sent", ["page", "cut JSON", "null", "error"])
def test_a_success_without_a_jobs_answers_is_fetched_again(sent: str):
    jobs = Batches(looks=1)
    before = [ONE, ONE, ONE]  # uploaded, submitted, found ended
    with ScriptedServer(Echo(), batches=jobs, faults=[*before, NO_DESCRIPTIONS[sent]]) as server:
        assert texts(asked(batched(server, MemoryCalls()), ["one"])) == ["one"]
        assert not server.faults
    assert len(jobs.jobs) == 1


def test_a_server_that_never_describes_its_jobs_ends_the_run_with_one_message():
    with (
        ScriptedServer(Echo(), batches=Batches(), faults=[ScriptedFault.page()] * 3) as server,
        pytest.raises(LLMError, match=r"says nothing of its batch jobs \(attempt 3: .*without the id"),
    ):
        asked(batched(server, MemoryCalls(), max_retries=2), ["one"])


def test_a_server_that_asks_for_more_time_than_a_run_waits_is_not_waited_for():
    time, jobs = Time(), Batches(looks=2)
    with ScriptedServer(Echo(), batches=jobs) as server:
        server.faults = [ONE, ONE, ScriptedFault.too_many(retry_after="100000")]
        with pytest.raises(LLMError, match=r"slow down; the next would be in 100,00\d seconds\); they"):
            asked(batched(server, MemoryCalls(), wait_s=3600.0, time=time), ["one"])
    assert time.now < 60
    assert len(jobs.jobs) == 1


def test_of_an_expired_job_what_was_answered_counts_and_the_rest_is_asked_again():
    jobs, calls = Batches(ends="expired", before_expiry=2), MemoryCalls()
    with ScriptedServer(Echo(), batches=jobs) as server:
        replies = asked(batched(server, calls), ["one", "two", "three"])
        assert [(reply.text, reply.status) for reply in replies] == [
            ("one", "ok"), ("two", "ok"), (None, "failed"),
        ]  # fmt: skip
        assert "batch_expired" in replies[2].raw
        jobs.ends = "completed"
        assert texts(asked(batched(server, calls), ["one", "two", "three"])) == ["one", "two", "three"]
    assert [line["body"]["messages"][0]["content"] for line in jobs.lines("batch_1")] == ["say three"]


def test_what_was_answered_in_a_file_that_is_gone_is_asked_again_and_the_rest_is_not():
    jobs, calls = Batches(looks=2, failing={0}), MemoryCalls()
    with ScriptedServer(Echo(), batches=jobs) as server:
        asked(batched(server, calls), ["one", "two"])
        jobs.gone.add(jobs.jobs["batch_0"]["error_file_id"])
        jobs.failing = ()
        assert texts(asked(batched(server, calls), ["one", "two"])) == ["one", "two"]
        jobs.gone.add(jobs.jobs["batch_0"]["output_file_id"])
        assert texts(asked(batched(server, calls), ["one", "two"])) == ["one", "two"]
    sent = {job: [line["body"]["messages"][0]["content"] for line in jobs.lines(job)] for job in jobs.jobs}
    assert sent == {"batch_0": ["say one", "say two"], "batch_1": ["say one"], "batch_2": ["say two"]}


def test_wrong_lines_are_left_out_and_doubled_ones_count_once():
    stray = (
        "no JSON",
        "[]",
        json.dumps({"custom_id": 7}),
        json.dumps({"custom_id": "unknown", "response": {}}),
    )
    jobs = Batches(stray=stray, doubled=True, failing={1})
    with ScriptedServer(Echo(), batches=jobs) as server:
        replies = asked(batched(server, MemoryCalls()), ["one", "two", "three"])
    assert [(reply.text, reply.status) for reply in replies] == [
        ("one", "ok"), (None, "failed"), ("three", "ok"),
    ]  # fmt: skip
    assert "overloaded" in replies[1].raw


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_an_answer_with_a_line_separator_of_unicode_is_one_line(separator: str):
    jobs, said = Batches(unescaped=True), f"words{separator}about cats"
    with ScriptedServer(Echo(said), batches=jobs) as server:
        assert texts(asked(batched(server, MemoryCalls()), ["one", "two"])) == [said, said]


@pytest.mark.parametrize("failing", [(), {0}])
def test_a_key_that_the_server_quotes_in_a_jobs_files_is_blotted_out(failing: Collection[int]):
    key = "sk-0123456789abcdef"
    jobs = Batches(failing=failing, failure=f"no room for {key}")
    with ScriptedServer(Echo(f"the key is {key}"), batches=jobs, api_key=key) as server:
        (reply,) = asked(batched(server, MemoryCalls(), key=key), ["one"])
    assert key not in f"{reply}"
    assert "[key]" in reply.raw
    assert reply.text == (None if failing else "the key is [key]")


def test_a_job_that_is_refused_as_a_whole_ends_the_run_with_the_servers_words():
    jobs, calls = Batches(ends="failed"), MemoryCalls()
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(LLMError, match=r"refuses the batch job batch_0 \(line 1 is no request\)"):
            asked(batched(server, calls), ["one"])
        jobs.ends = "completed"
        assert texts(asked(batched(server, calls), ["one"])) == ["one"]
    assert len(jobs.jobs) == 2


def test_looks_grow_apart_and_end_with_the_time_a_run_waits():
    time = Time()
    with (
        ScriptedServer(Echo(), batches=Batches(looks=999)) as server,
        pytest.raises(BatchPendingError, match="NEUROSCRIBE_LLM_BATCH_WAIT_MINUTES"),
    ):
        asked(batched(server, MemoryCalls(), wait_s=7200.0, time=time), ["one"])
    waits = [seconds for seconds in time.slept if seconds > 1]
    assert waits[:3] == [5.0, 7.5, 11.25]
    assert max(waits) == 300.0
    assert sum(waits) == pytest.approx(7200.0)


def test_a_schema_goes_with_the_line_in_the_form_that_the_server_takes():
    jobs = Batches()
    with ScriptedServer(Echo(), batches=jobs, json_forms=("json_object",)) as server:
        asked(batched(server, MemoryCalls()), ["one"], schema=SCHEMA)
    assert jobs.lines("batch_0")[0]["body"]["response_format"] == {"type": "json_object"}


def test_a_server_without_batch_jobs_is_refused_before_any_is_submitted():
    with ScriptedServer(Echo()) as server, pytest.raises(LLMError, match="take batch = true out of"):
        asyncio.run(batched(server, MemoryCalls()).check())
    with ScriptedServer(Echo(), batches=Batches()) as server:
        asyncio.run(batched(server, MemoryCalls()).check())


def test_a_job_that_may_exceed_the_budget_is_not_submitted_and_others_are_booked_at_their_cost():
    jobs = Batches()
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(BudgetError):
            asked(batched(server, MemoryCalls(), budget=Budget(0.01)), ["one"])
        assert not jobs.jobs
        budget = Budget(1.0)
        asked(batched(server, MemoryCalls(), budget=budget), ["one", "two"])
    assert budget.spent_usd == pytest.approx(2 * (2 * 1000 + 2000) / 1e6)


def test_a_second_job_that_the_budget_has_no_room_for_ends_the_run_and_the_first_is_owed():
    jobs, budget = Batches(looks=9), Budget(0.06)
    with (
        ScriptedServer(Echo(), batches=jobs) as server,
        pytest.raises(BudgetError, match=r"batch jobs of process .* that are not collected"),
    ):
        # Each may cost 0.046: 36 tokens asked and 5 answered.
        asked(batched(server, MemoryCalls(), budget=budget, lines_per_job=1), ["one", "two"])
    assert len(jobs.jobs) == 1
    assert budget.spent_usd == pytest.approx(0.046)


def test_a_job_of_an_earlier_run_is_booked_when_it_is_collected_and_an_open_one_holds_up_no_budget():
    jobs, calls, budget = Batches(looks=2), MemoryCalls(), Budget(1.0)
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(BatchPendingError):
            asked(batched(server, calls, wait_s=0.0, budget=budget), ["one"])
        set_aside = budget.spent_usd
        assert set_aside > (2 * 1000 + 2000) / 1e6
        later = Budget(0.0)
        asked(batched(server, calls, budget=later), ["one"])
        assert later.spent_usd == pytest.approx((2 * 1000 + 2000) / 1e6)
        # Nothing is under way any more, so that what cannot be paid is refused instead of waited for.
        with pytest.raises(BudgetError):
            asked(batched(server, calls, budget=later), ["two"])


@pytest.mark.parametrize("looks", [1, 2])
def test_a_job_that_one_part_of_a_run_submits_and_another_collects_is_booked_once(looks: int):
    # At its first look the other part finds the job ended, or has to wait for it.
    jobs, calls, budget = Batches(looks=looks), MemoryCalls(), Budget(1.0)
    with ScriptedServer(Echo(), batches=jobs) as server:
        with pytest.raises(BatchPendingError):
            asked(batched(server, calls, wait_s=0.0, budget=budget), ["one", "two"])
        assert budget.spent_usd > 2 * (2 * 1000 + 2000) / 1e6
        asked(batched(server, calls, budget=budget), ["one", "two"])
    assert budget.spent_usd == pytest.approx(2 * (2 * 1000 + 2000) / 1e6)


def test_batch_jobs_cost_their_share_of_a_listed_price_and_a_studys_own_price_as_it_stands():
    spec = LLMSpec(provider="openai", model="gpt-4o-mini", batch=True)
    found = batch_prices(spec, "https://api.openai.com/v1")
    assert (found.prompt, found.completion, found.cached) == (0.075, 0.3, None)
    own = spec.model_copy(update={"usd_per_million_prompt_tokens": 1.0})
    assert batch_prices(own, "https://api.openai.com/v1").prompt == 1.0
    assert not batch_prices(spec, "http://127.0.0.1:8000/v1").known

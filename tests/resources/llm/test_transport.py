"""Pace, retries, outages and money, in virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from itertools import pairwise

import httpx2
import pytest

from neuroscribe.errors import BudgetError, LLMError
from neuroscribe.ports.replies import Reply
from neuroscribe.testing.stores import SilentProgress
from neuroscribe.testing.virtual_time import run_in_virtual_time
from resources.llm.budget import Budget
from resources.llm.faults import retry_after_s
from resources.llm.limits import Circuit, Pace, TokenGuess
from resources.llm.prices import Prices
from resources.llm.transport import Drive, backoff_s
from tests.resources.llm.virtual import Answer, TimedServer, refused, replies, server

PRICES = Prices(prompt=1000.0, completion=0.0)  # 100 prompt tokens cost 10 cents


def asked(answer: Answer, count: int, **options: object) -> tuple[list[Reply], TimedServer, float]:
    """All replies, the server, and the seconds it took."""
    timed = TimedServer(answer)

    async def work() -> list[Reply]:
        async with timed.client() as client:
            return list(await replies(server(client, **options), count))

    found, seconds = run_in_virtual_time(work())
    return found, timed, seconds


def until(second: float, otherwise: httpx2.Response | Callable[[], httpx2.Response]) -> Answer:
    """Answer at once from that second on; before it, `otherwise`."""
    return lambda now: 0.0 if now >= second else (otherwise() if callable(otherwise) else otherwise)


def raising() -> httpx2.Response:
    raise httpx2.ConnectError("nobody listens")


def test_requests_fill_their_limit_and_no_minute_holds_more():
    drive = Drive(pace=Pace(requests_per_minute=300))
    found, timed, _ = asked(lambda _: 1.5, 400, concurrency=16, drive=drive)
    arrivals = timed.arrivals
    most = max(sum(start <= each < start + 60 for each in arrivals) for start in arrivals)
    assert {reply.status for reply in found} == {"ok"}
    assert 0.95 * 300 <= most <= 300
    assert 399 / (arrivals[-1] - arrivals[0]) * 60 >= 0.95 * 300


def test_after_a_hold_requests_still_keep_to_their_limit_and_leave_no_time_unused():
    early = [429]

    def answer(now: float) -> httpx2.Response | float:
        return refused(early.pop(), retry_after="20") if now > 1 and early else 0.5

    drive = Drive(pace=Pace(requests_per_minute=300))
    found, timed, _ = asked(answer, 400, concurrency=64, drive=drive)
    arrivals = timed.arrivals
    assert {reply.status for reply in found} == {"ok"}
    assert not any(1.5 < each < 21 for each in arrivals)
    late = [each for each in arrivals if each >= 21]
    assert {round(later - earlier, 3) for earlier, later in pairwise(late)} == {0.202}


def test_tokens_fill_their_limit_once_answers_have_told_how_many_a_prompt_takes():
    _, timed, _ = asked(lambda _: 0.1, 300, concurrency=8, drive=Drive(pace=Pace(tokens_per_minute=10_100)))
    late = [each for each in timed.arrivals if each >= 60]
    per_minute = 101 * (len(late) - 1) / (late[-1] - late[0]) * 60  # each takes 100 tokens and gives 1
    assert 0.9 * 10_100 <= per_minute <= 10_100


def test_a_request_that_took_less_than_estimated_gives_the_rest_back():
    pace = Pace(tokens_per_minute=6000)
    pace.start(0.0, tokens=600)
    pace.correct(estimated=600, taken=99)
    assert pace.start(0.0, tokens=1) == pytest.approx(1.0)  # 99 tokens at 99 % of 100 a second


def test_without_limits_nothing_waits():
    assert [Pace().start(now, tokens=10**9) for now in (0.0, 0.0, 5.0)] == [0.0, 0.0, 5.0]


def test_a_guess_is_learnt_from_long_prompts_and_follows_the_densest():
    guess = TokenGuess()
    assert guess.tokens(1000) == 532
    guess.learn(10, 9000)
    guess.learn(1000, 232)
    assert guess.tokens(1000) == 232
    guess.learn(1000, 332)
    guess.learn(1000, 132)
    assert guess.tokens(1000) == 332


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": formatdate(1090, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(1090, usegmt=True), "date": formatdate(1030, usegmt=True)}, 60.0),
        ({"retry-after": formatdate(10, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers, now=1000.0) == seconds


def test_waits_double_up_to_a_minute_and_vary_by_a_seed():
    waits = [backoff_s(attempt, random.Random(3)) for attempt in range(1, 12)]
    assert waits == [backoff_s(attempt, random.Random(3)) for attempt in range(1, 12)]
    assert all(0.75 * 2 ** (n - 1) / 2 <= wait <= 2 ** (n - 1) / 2 for n, wait in enumerate(waits[:7], 1))
    assert max(waits) <= 60
    assert 100 <= backoff_s(1, random.Random(3), asked_s=100.0) <= 101


@pytest.mark.parametrize("retry_after", ["0", "1", formatdate(-100, usegmt=True)])
def test_a_server_that_asks_for_less_time_than_it_needs_is_tried_as_patiently_as_one_that_asks_for_none(
    retry_after: str,
):
    refusal = until(60.0, lambda: refused(429, retry_after=retry_after, date=formatdate(0, usegmt=True)))
    found, timed, _ = asked(refusal, 16)
    assert [reply.text for reply in found] == ["weather"] * 16
    assert len(timed.arrivals) <= 16 * 9


@pytest.mark.parametrize("retry_after", ["200", formatdate(200, usegmt=True)])
def test_a_server_that_asks_for_minutes_gets_them_from_all_calls(retry_after: str):
    date = formatdate(0, usegmt=True)
    refusal = until(200.0, lambda: refused(429, retry_after=retry_after, date=date))
    found, timed, _ = asked(refusal, 4)
    assert [reply.text for reply in found] == ["weather"] * 4
    early = [each for each in timed.arrivals if each < 200]
    assert 1 <= len(early) <= 4  # those already on their way when the first was turned away
    assert len(timed.arrivals) == len(early) + 4
    assert all(reply.usage.latency_s and reply.usage.latency_s >= 200 for reply in found)


def test_a_server_that_asks_for_more_time_than_one_has_ends_the_run():
    with pytest.raises(LLMError, match=r"asks to wait 24:00:00 .*answers so far are kept"):
        asked(lambda _: refused(429, retry_after="86400"), 1)


def test_an_outage_is_waited_for_by_one_call_at_a_time_and_the_run_goes_on():
    progress = SilentProgress()
    found, timed, seconds = asked(until(300.0, raising), 20, concurrency=10, progress=progress)
    during = [each for each in timed.arrivals if 5 < each < 300]
    assert [reply.text for reply in found] == ["weather"] * 20
    assert len(during) <= 12  # 1, 2, 4 ... 60 seconds apart
    assert all(later - earlier > 0.7 for earlier, later in pairwise(during))
    assert 300 <= seconds < 400
    assert list(progress.totals) == ["wait for the LLM server at http://llm.example/v1"]
    assert "ConnectError: nobody listens" in progress.notes[-1]


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_without_its_server_is_an_outage(status: int):
    found, timed, _ = asked(until(100.0, lambda: refused(status)), 20, concurrency=10)
    assert [reply.text for reply in found] == ["weather"] * 20
    assert len(timed.arrivals) < 60


def test_an_outage_that_lasts_ends_the_run_with_one_message():
    with pytest.raises(LLMError, match=r"has been down for 10:00 .*run the same command again"):
        asked(lambda _: raising(), 20, drive=Drive(patience_s=600.0))


def test_errors_that_say_the_server_is_there_open_no_circuit():
    found, _, _ = asked(until(20.0, lambda: refused(500)), 8)
    assert [reply.text for reply in found] == ["weather"] * 8

    async def state() -> bool:
        circuit = Circuit("http://x", patience_s=9.0, generator=random.Random(0))
        for _ in range(4):
            circuit.failed("HTTP 503", probe=False)
        circuit.passed()
        circuit.failed("HTTP 503", probe=False)
        return circuit.is_open

    assert not asyncio.run(state())


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_never_ends_is_an_attempt_that_failed(status: int):
    async def dripping() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(9.0)
            yield b" "

    drive = Drive(max_retries=1)
    found, timed, seconds = asked(lambda _: httpx2.Response(status, content=dripping()), 1, drive=drive)
    assert (found[0].status, found[0].raw) == ("failed", "no whole answer in 600 seconds")
    assert len(timed.arrivals) == 2
    assert 1200 < seconds < 1201


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_is_larger_than_any_is_an_attempt_that_failed(status: int):
    sent: list[int] = []

    async def swollen() -> AsyncIterator[bytes]:
        while True:
            sent.append(2**22)
            yield bytes(2**22)

    drive = Drive(max_retries=1)
    found, _, _ = asked(lambda _: httpx2.Response(status, content=swollen()), 1, drive=drive)
    assert (found[0].status, found[0].raw) == ("failed", "no answer: a body of more than 16 MiB")
    assert sum(sent) == 2 * (16 * 2**20 + 2**22)


def test_a_probe_that_is_cancelled_lets_another_one_try():
    async def tried() -> list[bool]:
        circuit = Circuit("http://x", patience_s=99.0, generator=random.Random(0))
        for _ in range(5):
            circuit.failed("HTTP 503", probe=False)
        first = await circuit.turn(None)
        circuit.left(probe=first)
        return [first, await asyncio.wait_for(circuit.turn(None), 5)]

    assert run_in_virtual_time(tried())[0] == [True, True]


def test_a_probe_that_is_cancelled_while_it_waits_for_the_pace_lets_another_one_try():
    async def tried() -> tuple[str | None, float]:
        circuit, pace = Circuit("http://x", patience_s=99.0, generator=random.Random(0)), Pace()
        for _ in range(5):
            circuit.failed("HTTP 503", probe=False)
        pace.hold(20.0)
        async with TimedServer(lambda _: 0.0).client() as client:
            held = server(client, drive=Drive(pace=pace, circuit=circuit))
            first = asyncio.ensure_future(replies(held, 1))
            await asyncio.sleep(10.0)
            first.cancel()
            return (await replies(held, 1))[0].text, asyncio.get_running_loop().time()

    assert run_in_virtual_time(tried())[0] == ("weather", 20.0)


def test_the_budget_ends_the_run_before_it_is_passed_and_loses_no_answer():
    budget = Budget(1.0)
    timed, came = TimedServer(lambda _: 3.0), []

    async def work() -> None:
        async with timed.client() as client:
            paid = server(client, prices=PRICES, drive=Drive(budget=budget))

            async def one(seed: int) -> None:
                came.extend(await replies(paid, 1))

            await asyncio.gather(*(one(seed) for seed in range(40)))

    with pytest.raises(BudgetError, match=r"\$1\.00 \(NEUROSCRIBE_LLM_BUDGET_USD\).*same command continues"):
        run_in_virtual_time(work())
    assert len(came) == len(timed.arrivals)
    assert budget.spent_usd == pytest.approx(0.1 * len(came))
    assert 0.7 <= budget.spent_usd <= 1.0


def test_what_may_have_been_charged_counts_against_the_budget():
    budget, first = Budget(5.0), [True]

    def answer(now: float) -> httpx2.Response | float:
        if first and first.pop():
            raise httpx2.ReadTimeout("too late")
        return 0.0

    found, _, _ = asked(answer, 1, prices=PRICES, drive=Drive(budget=budget))
    assert found[0].status == "ok"
    assert budget.spent_usd == pytest.approx(0.1 + 0.172)  # 100 tokens, and 280 characters / 2 + 32


def cut_off() -> httpx2.Response:
    return httpx2.Response(200, text='{"choices": [{"message"')


@pytest.mark.parametrize("concurrency", [1, 4, 40])
def test_attempts_that_are_charged_for_without_an_answer_never_pass_the_budget(concurrency: int):
    budget, timed = Budget(1.0), TimedServer(lambda _: cut_off())

    async def work() -> None:
        async with timed.client() as client:
            drive = Drive(budget=budget)
            await replies(server(client, prices=PRICES, drive=drive, concurrency=concurrency), 40)

    with pytest.raises(BudgetError):
        run_in_virtual_time(work())
    assert len(timed.arrivals) == 5  # each may have cost 172 tokens, that is $0.172
    assert budget.spent_usd == pytest.approx(5 * 0.172)


def test_attempts_that_cost_nothing_take_nothing_of_the_budget():
    budget = Budget(0.2)
    found, timed, _ = asked(until(9.0, lambda: refused(429)), 1, prices=PRICES, drive=Drive(budget=budget))
    assert found[0].status == "ok"
    assert len(timed.arrivals) > 3
    assert budget.spent_usd == pytest.approx(0.1)

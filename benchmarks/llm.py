"""What our layer over an LLM server costs, whether it stays small, fills a limit and loses nothing.

Throughput is in calls per second of processor time of the asking process, for the server is one of its own;
beside it stands that by the clock, in which waiting for the disk counts too.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
import openai

from benchmarks.alone import printed_apart
from benchmarks.figures import Figure, figure
from benchmarks.llm_server import ANSWER
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Once, answer_form, worked_through
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.ports.stores import CallStore
from neuroscribe.testing.virtual_time import run_in_virtual_time
from resources.llm.limits import Pace
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive
from resources.store.calls import FolderCalls

ROOT = Path(__file__).parent.parent
PROMPT = "word\t3\n" * 300
CALLS, AT_ONCE, ROUNDS = 1500, 64, 5
MANY_CALLS, MANY_AT_ONCE, SETTLED = 20_000, 256, 4_000
PER_MINUTE, LATENCY_S, WINDOW_S = 600, 1.5, 120.0
RUN_CALLS, RUN_AT_ONCE, KILLS = 500, 8, 8
Work = Callable[[int], Awaitable[object]]


class Forgets:
    """Fulfils the port CallStore and keeps nothing."""

    def get(self, key: str) -> dict[str, object] | None:
        """Return None."""

    def put(self, key: str, answer: object) -> None:
        """Do nothing."""


def llm_figures() -> Iterator[Figure]:
    """Yield the figures of the LLM layer."""
    with serving() as url:
        yield from throughput(url)
        growth = json.loads(printed_apart("benchmarks.llm", "memory", url))
        yield figure("llm.memory_growth", [growth], f"x of {SETTLED:,} calls", n=MANY_CALLS)
    yield figure("llm.rate_limit_used", [limit_used()], "of the limit, in virtual time", n=PER_MINUTE)
    stored, in_flight = repeated_calls()
    yield figure("llm.repeated_calls_after_kill", [stored], "stored answers asked for again", n=KILLS)
    yield figure(
        "llm.calls_in_flight_repeated_per_kill", [in_flight], "calls a kill", n=KILLS,
        detail=f", of at most {RUN_AT_ONCE} at once",
    )  # fmt: skip


def throughput(url: str) -> Iterator[Figure]:
    """Yield calls per processor second through our layer, over those of bare loops, and with the store.

    The bare loops use one `openai` client, as our layer does, and one httpx2 client.
    """
    seconds: dict[str, list[tuple[float, float]]] = {"openai": [], "httpx2": [], "ours": [], "stored": []}
    for _ in range(ROUNDS):
        for name, spent in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                begun = time.process_time(), time.perf_counter()
                asyncio.run(_loop(name, url, folder))
                spent.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    for name, against, by, clock in (
        ("llm.throughput_ratio", "openai", "stored", 0),
        ("llm.throughput_ratio_by_the_clock", "openai", "stored", 1),
        ("llm.throughput_ratio_unstored", "openai", "ours", 0),
        ("llm.throughput_ratio_httpx2", "httpx2", "ours", 0),
    ):
        pairs = zip(seconds[against], seconds[by], strict=True)
        ratios = [bare[clock] / layer[clock] for bare, layer in pairs]
        yield figure(name, ratios, f"of a bare {against} loop", n=CALLS)


async def _loop(name: str, url: str, folder: str) -> None:
    match name:
        case "openai":
            await _bare_openai(url)
        case "httpx2":
            await _bare_httpx2(url)
        case _:
            calls = FolderCalls(folder) if name == "stored" else Forgets()
            await worked_through(range(CALLS), _ours(url, AT_ONCE, calls), at_once=AT_ONCE)


def _body(seed: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": "m", "messages": messages, "max_tokens": 60, "temperature": 0.0, "seed": seed}


async def _bare_openai(url: str) -> None:
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as http:
        client = openai.AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0)

        async def ask(seed: int) -> None:
            answer = await client.chat.completions.create(**_body(seed))
            assert answer.choices[0].message.content

        await worked_through(range(CALLS), ask, at_once=AT_ONCE)


async def _bare_httpx2(url: str) -> None:
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as http:

        async def ask(seed: int) -> None:
            answer = await http.post(f"{url}/chat/completions", json=_body(seed))
            assert answer.json()["choices"][0]["message"]["content"]

        await worked_through(range(CALLS), ask, at_once=AT_ONCE)


def _ours(url: str, at_once: int, calls: CallStore) -> Work:
    server = OpenAIServer("m", base_url=url, concurrency=at_once)
    once, form = Once(calls), answer_form(Reply)

    async def ask(seed: int) -> None:
        async def call() -> Reply:
            question = [Message("user", PROMPT)]
            reply = await server.reply(question, max_tokens=60, temperature=0.0, seed=seed)
            assert reply.text, reply.raw
            return reply

        await once.answer(_key(seed), call, form)

    return ask


def limit_used() -> float:
    """Return the share of a limit on requests that is used over two minutes, by a clock that jumps."""
    arrivals: list[float] = []

    async def answer(_: httpx2.Request) -> httpx2.Response:
        arrivals.append(asyncio.get_running_loop().time())
        await asyncio.sleep(LATENCY_S)
        return httpx2.Response(200, json=ANSWER)

    async def run() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            drive = Drive(pace=Pace(requests_per_minute=PER_MINUTE))
            server = OpenAIServer(
                "m", base_url="http://llm.example/v1", concurrency=32, drive=drive, http_client=client
            )

            async def ask(seed: int) -> None:
                await server.reply([Message("user", PROMPT)], max_tokens=60, temperature=0.0, seed=seed)

            await worked_through(range(round(PER_MINUTE * WINDOW_S / 60) + 100), ask, at_once=32)

    run_in_virtual_time(run())
    return sum(arrival < WINDOW_S for arrival in arrivals) / (PER_MINUTE * WINDOW_S / 60)


def repeated_calls() -> tuple[int, float]:
    """Return how often a run that is killed again and again asks for stored answers, and for others a kill.

    A kill loses what each of the run's workers has in flight, one call: it asks, or stores the answer. What
    had been stored by then must never be asked for again.
    """
    settled: list[dict[str, int]] = []
    generator = random.Random(0)  # noqa: S311 - moments of kills
    with serving(delay_ms=40) as url, tempfile.TemporaryDirectory() as folder:
        for _ in range(KILLS):
            command = [sys.executable, "-m", "benchmarks.llm", "run", url, folder]
            with subprocess.Popen(command, cwd=ROOT) as child:  # noqa: S603 - this module
                until = _asked(url) + generator.randint(RUN_AT_ONCE + 1, RUN_CALLS // (KILLS + 2))
                while _asked(url) < until:
                    time.sleep(0.01)
                time.sleep(generator.uniform(0.0, 0.05))
                os.kill(child.pid, signal.SIGKILL)
            kept, before = set(FolderCalls(folder).keys()), _asked_by_seed(url)
            settled.append({seed: count for seed, count in before.items() if _key(int(seed)) in kept})
        printed_apart("benchmarks.llm", "run", url, folder)
        after = _asked_by_seed(url)
    stored_again = len({seed for kept in settled for seed, count in kept.items() if after[seed] > count})
    print(f"{sum(after.values())} calls for {RUN_CALLS} questions and {KILLS} kills", flush=True)
    return stored_again, (sum(after.values()) - RUN_CALLS) / KILLS


def _key(seed: int) -> str:
    return fingerprint("benchmark", seed)


def _asked(url: str) -> int:
    return sum(_asked_by_seed(url).values())


def _asked_by_seed(url: str) -> dict[str, int]:
    return json.loads(urlopen(url.removesuffix("/v1")).read())  # noqa: S310 - our own server


@contextmanager
def serving(*, delay_ms: float = 0.0) -> Iterator[str]:
    """Give the address of a server of its own process."""
    command = [sys.executable, "-m", "benchmarks.llm_server", str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:  # noqa: S603 - our own server
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.kill()


def _memory(url: str) -> float:
    """Return the resident size after all calls over that after the first ones."""
    sizes: list[int] = []

    async def run() -> None:
        ask = _ours(url, MANY_AT_ONCE, Forgets())

        async def measured(seed: int) -> None:
            await ask(seed)
            if seed in (SETTLED, MANY_CALLS - 1):
                sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))

        await worked_through(range(MANY_CALLS), measured, at_once=MANY_AT_ONCE)

    asyncio.run(run())
    return sizes[1] / sizes[0]


def _main(part: str, url: str, *rest: str) -> None:
    if part == "memory":
        print(_memory(url))
    else:
        work = _ours(url, RUN_AT_ONCE, FolderCalls(rest[0]))
        asyncio.run(worked_through(range(RUN_CALLS), work, at_once=RUN_AT_ONCE))


if __name__ == "__main__":
    _main(*sys.argv[1:])

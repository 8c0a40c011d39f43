"""What other processes do in `test_shared_limits.py`, where several keep one budget and one pace."""

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

from neuroscribe.errors import BudgetError
from neuroscribe.ports.replies import Message
from neuroscribe.study.spec import LLMSpec
from resources.llm.opening import LLMServers

SPEC = LLMSpec(
    model="m",
    provider="openai",
    prompt_style="completion",
    usd_per_million_prompt_tokens=10_000.0,  # "Hm", "?" and two line breaks cost 4 cents
    usd_per_million_completion_tokens=0.0,
)
CENTS_A_CALL = 4


def begun(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """Begin work in a process of its own, which has imported all before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def ended(processes: Sequence[BaseProcess]) -> list[int | None]:
    """Wait for processes, and return their exit codes."""
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def ask(settings: dict[str, object], calls: int) -> None:
    """Ask so many questions, eight at a time."""
    asyncio.run(_asked(settings, calls))


def ask_until_spent(settings: dict[str, object], calls: int) -> None:
    """Ask until there is no money; fails where there is enough for all."""
    try:
        ask(settings, calls)
    except BudgetError:
        return
    raise AssertionError("the budget sufficed")


async def _asked(settings: dict[str, object], calls: int) -> None:
    server = LLMServers.model_validate({"concurrency": 8, **settings}).server(SPEC)
    asked = (
        server.reply([Message("user", "Hm?")], max_tokens=9, temperature=0.0, seed=n) for n in range(calls)
    )
    for reply in await asyncio.gather(*asked):
        assert reply.status == "ok", reply.raw

"""An event loop whose clock jumps to the next thing that is due, so that a test of hours takes no time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Counts seconds from 0; nothing but timers moves its clock, so it is no place for real connections."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0

    def time(self) -> float:
        """Return the seconds that have gone by."""
        return self._seconds

    def _run_once(self) -> None:
        """Go to the next timer when nothing else is ready, then go on as any loop does."""
        loop: Any = self
        if not loop._ready:
            due: list[float] = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
            self._seconds = max(self._seconds, min(due, default=self._seconds))
        loop_once: Any = getattr(super(), "_run_once")  # noqa: B009 - asyncio's own, without a type
        loop_once()


def run_in_virtual_time(work: Coroutine[Any, Any, Result]) -> tuple[Result, float]:
    """Return what `work` returns, and the seconds it took by its own clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(work)
        return result, runner.get_loop().time()

"""Shows how far long work has come: bars on a terminal; anywhere else a plain line now and then.

A display that fails (a closed terminal, a full disk) never ends the work it shows.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol, TextIO

import dagster as dg
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Live
from rich.table import Column
from rich.text import Text

from neuroscribe.text.escaping import escaped
from resources.pace import Alarm, Work, duration

SECONDS_BETWEEN_LINES = 15.0


class RichProgress:
    """Fulfils the port Progress on one stream; tasks may be nested, or open in several threads at once."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show on `stream`; by default on what is standard error when a task is opened."""
        self.seconds: dict[str, float] = {}
        """Time spent per label, failed work included; tasks of the same label add up."""
        self._stream = stream
        self._every = seconds_between_lines
        self._clock = clock
        self._lock = threading.RLock()
        self._bars: _Bars | None = None

    @contextmanager
    def task(self, label: str, *, total: int, unit: str) -> Iterator[Callable[..., None]]:
        """Open a task; the value yielded is `advance(n=1, note="")`, to be called as work is done."""
        work = Work(escaped(label.encode()), total, unit, self._clock)
        view = self._view()
        self._show(view.opened, work)

        def advance(n: int = 1, note: str = "") -> None:
            work.add(n, escaped(note.encode()))
            self._show(view.advanced, work)

        stopped = True
        try:
            yield advance
            stopped = False
        finally:
            with self._lock:
                self.seconds[label] = self.seconds.get(label, 0.0) + work.elapsed
            self._show(lambda closed: view.closed(closed, stopped=stopped), work)

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true the first time it is called after every so many seconds."""
        return Alarm(seconds, self._clock)

    def _view(self) -> "_View":
        stream = self._stream or sys.stderr
        if not stream.isatty():
            return _Lines(stream, self._every)
        with self._lock:
            if self._bars is None or self._bars.stream is not stream:
                self._bars = _Bars(stream)
            return _Lines(stream, self._every) if self._bars.dumb else self._bars

    def _show(self, effect: Callable[[Work], None], work: Work) -> None:
        with self._lock, suppress(OSError, ValueError):
            effect(work)


class _View(Protocol):
    def opened(self, work: Work) -> None: ...
    def advanced(self, work: Work) -> None: ...
    def closed(self, work: Work, *, stopped: bool) -> None: ...


class _Lines:
    """Plain lines, for logs."""

    def __init__(self, stream: TextIO, every: float) -> None:
        self._stream = stream
        self._every = every

    def opened(self, work: Work) -> None:
        """Say nothing yet: most work is soon done."""

    def advanced(self, work: Work) -> None:
        now = work.clock()
        if now - work.shown >= self._every and work.done < work.total:
            work.shown = now
            self._write(work.line())

    def closed(self, work: Work, *, stopped: bool) -> None:
        if work.total:
            self._write(work.last_line(stopped=stopped))

    def _write(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._stream.flush()


class _Bars:
    """One bar per open task; a closed one leaves its line above the others."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._console = Console(file=stream)
        self.dumb = self._console.is_dumb_terminal
        """Whether the terminal cannot move its cursor."""
        self._live = Live()
        self._tasks: dict[int, TaskID] = {}

    def opened(self, work: Work) -> None:
        if not self._tasks:
            self._live = Live(
                *_columns(self._console.width),
                console=self._console,
                refresh_per_second=4,
                transient=True,
                # Steps print into their own logs, which are not the terminal's business.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._tasks[id(work)] = self._live.add_task("", total=work.total, work=work)

    def advanced(self, work: Work) -> None:
        self._live.update(self._tasks[id(work)], completed=work.done)

    def closed(self, work: Work, *, stopped: bool) -> None:
        self._live.remove_task(self._tasks.pop(id(work)))
        if not self._tasks:
            self._live.stop()
        if work.total:
            self._console.print(Text(work.last_line(stopped=stopped)), soft_wrap=True)


class _Words(ProgressColumn):
    """A column of text about a task's work."""

    def __init__(self, words: Callable[[Work], str], style: str, *, shrinks: bool = False) -> None:
        self._words = words
        self._style = style
        super().__init__(Column(no_wrap=not shrinks, overflow="ellipsis", min_width=12 if shrinks else None))

    def render(self, task: Task) -> Text:
        return Text(self._words(task.fields["work"]), self._style, no_wrap=True, overflow="ellipsis")


def _columns(width: int) -> list[ProgressColumn]:
    return [
        _Words(lambda work: work.label, "bold", shrinks=True),
        BarColumn(bar_width=20 if width >= 100 else 8),
        _Words(lambda work: work.amount, ""),
        _Words(lambda work: work.speed, "cyan"),
        _Words(lambda work: duration(work.elapsed), "dim"),
        _Words(lambda work: "" if work.remaining is None else f"{duration(work.remaining)} left", "green"),
        _Words(lambda work: work.note, "yellow"),
    ]


_DISPLAYS: dict[float, RichProgress] = {}
_OPENING = threading.Lock()


class ProgressDisplay(dg.ConfigurableResource):
    """The progress display of this process; fulfils the port Progress itself."""

    seconds_between_lines: float = Field(
        default=SECONDS_BETWEEN_LINES, gt=0, description="least time between plain lines about one task"
    )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take hold of the terminal before Dagster turns the steps' standard error into a log."""
        self._display()

    def task(self, label: str, *, total: int, unit: str) -> AbstractContextManager[Callable[..., None]]:
        """Open a task; the value yielded is `advance(n=1, note="")`, to be called as work is done."""
        return self._display().task(label, total=total, unit=unit)

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true the first time it is called after every so many seconds."""
        return self._display().alarm(seconds)

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent per label in this process, also under copies that Dagster makes of this resource."""
        return self._display().seconds

    def _display(self) -> RichProgress:
        with _OPENING:
            if self.seconds_between_lines not in _DISPLAYS:
                _DISPLAYS[self.seconds_between_lines] = RichProgress(
                    _terminal(), seconds_between_lines=self.seconds_between_lines
                )
            return _DISPLAYS[self.seconds_between_lines]


def _terminal() -> TextIO | None:
    """Return a stream of its own to the terminal behind standard error, if there is one."""
    if not sys.stderr.isatty():
        return None
    return os.fdopen(
        os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="backslashreplace"
    )

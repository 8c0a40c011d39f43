"""The pace of long work: what is done of it, how fast, and when it will end, by a clock that is given."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW = 60.0
"""Seconds over which the rate is taken."""
HEAD_START = 0.25
"""What is reported in the first moment, in seconds, was done before (a resumed capture) and makes no rate."""
LONGEST = 120.0
"""Seconds from ring to ring beyond which short work stretches no alarm."""


@dataclass
class Alarm:
    """Rings the first time it is asked after every so many seconds of a clock.

    What is done when it rings lasts until it is asked again, and may take long: the next ring is then four
    times as far away, but no further than LONGEST from this one or, after work of more than half of that, as
    far as the work took.
    """

    seconds: float
    clock: Callable[[], float]
    _last: float = field(init=False)
    _rang: bool = False
    _wait: float = field(init=False)

    def __post_init__(self) -> None:
        self._last, self._wait = self.clock(), self.seconds

    def __call__(self) -> bool:
        """Tell whether it rings now."""
        now = self.clock()
        if self._rang:
            took = now - self._last
            self._wait = max(self.seconds, min(4 * took, max(LONGEST - took, took)))
            self._last, self._rang = now, False
        if now - self._last >= self._wait:
            self._last, self._rang = now, True
        return self._rang


@dataclass
class Work:
    """One task: what is done of it, how fast, and what is left. Times are in seconds."""

    label: str
    total: int
    unit: str
    clock: Callable[[], float]
    done: int = 0
    note: str = ""
    started: float = field(init=False)
    shown: float = field(init=False)
    """When a plain line was last written."""
    _before: int = 0
    """Units that were done before this task."""
    _samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def __post_init__(self) -> None:
        self.started = self.shown = self.clock()
        self._samples.append((self.started, 0))

    def add(self, n: int, note: str) -> None:
        """Count `n` more units; an empty note leaves the one before."""
        now = self.clock()
        self.done += n
        self.note = note or self.note
        if now - self.started < HEAD_START:
            self._before = self.done
            self._samples[0] = (now, self.done)
        elif now - self._samples[-1][0] >= 1:
            self._samples.append((now, self.done))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the task was opened."""
        return self.clock() - self.started

    @property
    def rate(self) -> float | None:
        """Units per second over the last minute, None before there is one."""
        since, before = self._samples[0]
        spent = self.clock() - since
        return (self.done - before) / spent if spent > 0 and self.done > before else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the end at this rate."""
        return None if self.rate is None else max(0, self.total - self.done) / self.rate

    @property
    def amount(self) -> str:
        """Units done of all."""
        if self.unit == "bytes":
            return f"{self.done / 1e6:,.1f} of {self.total / 1e6:,.1f} MB"
        return f"{self.done:,} of {self.total:,} {self.unit}"

    @property
    def speed(self) -> str:
        """The rate in words, empty before there is one."""
        return self._speed(self.rate)

    def line(self) -> str:
        """Return one plain line about unfinished work."""
        left = "" if self.remaining is None else f"{duration(self.remaining)} left"
        share = f"{self.amount} ({100 * self.done // max(1, self.total)} %)"
        facts = (share, self.speed, f"{duration(self.elapsed)} elapsed", left, self.note)
        return f"{self.label}: {', '.join(fact for fact in facts if fact)}"

    def last_line(self, *, stopped: bool) -> str:
        """Return the line that stays when the task is closed; `stopped` means by an error."""
        if stopped:
            return f"{self.label}: stopped at {self.amount} after {duration(self.elapsed)}"
        average = (self.done - self._before) / self.elapsed if self.elapsed > 0 else None
        facts = (f"{self.amount} in {duration(self.elapsed)}", self._speed(average), self.note)
        return f"{self.label}: {', '.join(fact for fact in facts if fact)}"

    def _speed(self, rate: float | None) -> str:
        if not rate:
            return ""
        if self.unit == "bytes":
            return f"{rate / 1e6:,.1f} MB/s"
        return f"{rate:,.{0 if rate >= 100 else 1 if rate >= 10 else 2}f}/s"


def duration(seconds: float) -> str:
    """Return a time as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"

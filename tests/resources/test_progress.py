import io
import threading
from collections.abc import Callable

import dagster as dg
import pytest

from neuroscribe.ports.stores import Progress
from resources.pace import Work, duration
from resources.progress import ProgressDisplay, RichProgress


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(clock: Clock, seconds: float, advance: Callable[..., None], n: int, note: str = "") -> None:
    clock.now = float(seconds)
    advance(n, note)


def test_both_displays_fulfil_the_port():
    assert isinstance(RichProgress(), Progress)
    assert isinstance(ProgressDisplay(), Progress)


def test_rate_and_remaining_time_leave_out_what_was_done_before(clock: Clock):
    work = Work("capture", 2000, "sequences", clock)
    work.add(1000, "")
    assert (work.rate, work.remaining) == (None, None)
    clock.now = 10.0
    work.add(100, "")
    assert (work.rate, work.remaining) == (10.0, 90.0)


def test_the_rate_is_that_of_the_last_minute(clock: Clock):
    work = Work("explain", 1000, "calls", clock)
    for second in range(1, 101):
        clock.now = float(second)
        work.add(1, "")
    assert work.rate == 1.0
    for second in range(101, 161):
        clock.now = float(second)
        work.add(5, "")
    assert work.rate == 5.0
    clock.now = 190.0
    assert work.rate == pytest.approx(300 / 90), "a stall lowers it"


def test_a_log_gets_a_line_every_fifteen_seconds_at_most_and_one_at_the_end(clock: Clock):
    log = io.StringIO()
    with RichProgress(log, clock=clock).task("capture toy", total=100, unit="sequences") as advance:
        for second in range(1, 41):
            at(clock, second, advance, 2, note=f"${second / 100:.2f}")
        clock.now = 50.0
        advance(20)
    assert log.getvalue().splitlines() == [
        "capture toy: 30 of 100 sequences (30 %), 2.00/s, 0:15 elapsed, 0:35 left, $0.15",
        "capture toy: 60 of 100 sequences (60 %), 2.00/s, 0:30 elapsed, 0:20 left, $0.30",
        "capture toy: 100 of 100 sequences in 0:50, 2.00/s, $0.40",
    ]


def test_bytes_are_shown_as_megabytes(clock: Clock):
    log = io.StringIO()
    with RichProgress(log, clock=clock).task("verifying toy", total=3_000_000, unit="bytes") as advance:
        at(clock, 2, advance, 3_000_000)
    assert log.getvalue() == "verifying toy: 3.0 of 3.0 MB in 0:02, 1.5 MB/s\n"


def test_work_that_an_error_ends_is_shown_as_stopped_and_the_error_passes(clock: Clock):
    log = io.StringIO()
    display = RichProgress(log, clock=clock)
    with pytest.raises(KeyError), display.task("explain toy", total=9, unit="explanations") as advance:  # noqa: PT012
        at(clock, 12, advance, 4)
        raise KeyError
    assert log.getvalue() == "explain toy: stopped at 4 of 9 explanations after 0:12\n"
    assert display.seconds == {"explain toy": 12.0}


def test_nested_tasks_are_timed_apart_and_equal_labels_add_up(clock: Clock):
    log = io.StringIO()
    display = RichProgress(log, clock=clock)
    with display.task("layers", total=2, unit="layers") as outer:
        for end in (10.0, 30.0):
            with display.task("score", total=1, unit="neurons") as inner:
                at(clock, end, inner, 1)
            outer()
    assert display.seconds == {"layers": 30.0, "score": 30.0}
    assert log.getvalue().splitlines() == [
        "score: 1 of 1 neurons in 0:10, 0.10/s",
        "score: 1 of 1 neurons in 0:20, 0.05/s",
        "layers: 2 of 2 layers in 0:30, 0.07/s",
    ]


def test_tasks_of_several_threads_are_all_counted():
    display = RichProgress(io.StringIO())

    def work(label: str) -> None:
        with display.task(label, total=50, unit="calls") as advance:
            for _ in range(50):
                advance()

    threads = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(display.seconds) == [f"worker {n}" for n in range(8)]


def test_a_task_without_work_leaves_no_line():
    log = io.StringIO()
    with RichProgress(log).task("explain toy", total=0, unit="explanations"):
        pass
    assert log.getvalue() == ""


def test_a_hostile_label_stays_on_one_line_of_any_log(clock: Clock):
    raw = io.BytesIO()
    log = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    with RichProgress(log, clock=clock).task("a\x1b[2J\nb\u202ec é", total=1, unit="calls"):
        pass
    assert raw.getvalue() == b"a\\u001b[2J\\nb\\u202ec \\xe9: 0 of 1 calls in 0:00\n"


def test_a_closed_log_does_not_end_the_work(clock: Clock):
    log = io.StringIO()
    display = RichProgress(log, clock=clock)
    with display.task("capture", total=2, unit="sequences") as advance:
        log.close()
        at(clock, 20, advance, 1)
    assert display.seconds == {"capture": 20.0}


def test_a_terminal_shows_bars_and_keeps_a_line_of_what_is_done(clock: Clock):
    terminal = Terminal()
    display = RichProgress(terminal, clock=clock)
    with display.task("[red]outer[/red]", total=4, unit="layers") as outer:
        with display.task("inner", total=2, unit="calls") as inner:
            at(clock, 2, inner, 2, note="$1.50")
        outer(4)
    shown = terminal.getvalue()
    assert "━" in shown
    assert "inner: 2 of 2 calls in 0:02, 1.00/s, $1.50\n" in shown
    assert shown.endswith("[red]outer[/red]: 4 of 4 layers in 0:02, 2.00/s\n"), "labels are no markup"


def test_a_terminal_can_be_used_again_after_the_last_task_ended(clock: Clock):
    terminal = Terminal()
    display = RichProgress(terminal, clock=clock)
    for label in ("first", "second"):
        with display.task(label, total=1, unit="calls") as advance:
            advance()
    assert terminal.getvalue().count("first: 1 of 1 calls") == 1
    assert terminal.getvalue().endswith("second: 1 of 1 calls in 0:00\n")


def test_the_resource_remembers_the_seconds_of_steps_that_dagster_gave_a_copy():
    @dg.asset
    def toy(progress: dg.ResourceParam[Progress]) -> None:
        with progress.task("a step's work", total=1, unit="calls") as advance:
            advance()

    display = ProgressDisplay()
    assert dg.materialize([toy], resources={"progress": display}).success
    assert display.seconds["a step's work"] > 0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (3661.0, "1:01:01")]
)
def test_durations_read_like_a_clock(seconds: float, shown: str):
    assert duration(seconds) == shown

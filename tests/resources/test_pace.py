from itertools import pairwise

import pytest

from resources.pace import Alarm


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_alarm_rings_once_after_every_so_many_seconds() -> None:
    clock = Clock()
    alarm = Alarm(60.0, clock)
    rings = []
    for _ in range(26):
        clock.now += 5
        if alarm():
            rings.append(clock.now)
    assert rings == [160.0, 225.0]  # the time to the next question counts as what was done meanwhile


def rings(took: int, between: float = 1.0, seconds: float = 60.0) -> list[float]:
    """Return when an alarm rings whose work is timed, by asking at once after it, in an hour."""
    clock = Clock()
    alarm, found = Alarm(seconds, clock), list[float]()
    while clock.now < 3700:
        clock.now += between
        if alarm():
            found.append(clock.now)
            clock.now += took
            alarm()
    return found


@pytest.mark.parametrize(
    ("took", "apart"),
    [
        (1, 61),  # the seconds asked for, and the work
        (20, 100),  # a fifth of the time
        (24, 120),
        (40, 120),  # two minutes, whatever it takes
        (60, 120),
        (100, 200),  # half of the time
    ],
)
def test_rings_are_two_minutes_apart_at_most_while_their_work_takes_one_at_most(
    took: int, apart: int
) -> None:
    found = rings(took)
    assert {after - before for before, after in pairwise(found)} == {apart}


def test_slow_questions_between_rings_do_not_count_as_their_work() -> None:
    found = rings(took=5, between=50.0)
    assert {after - before for before, after in pairwise(found)} == {105}


def test_an_alarm_set_for_longer_than_two_minutes_keeps_its_time() -> None:
    found = rings(took=10, seconds=300.0)
    assert {after - before for before, after in pairwise(found)} == {310}


def test_an_alarm_of_no_seconds_rings_at_every_question_while_nothing_takes_time() -> None:
    alarm = Alarm(0.0, Clock())
    assert [alarm() for _ in range(3)] == [True, True, True]

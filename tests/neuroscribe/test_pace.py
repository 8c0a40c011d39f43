from neuroscribe.pace import Alarm


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


def test_work_that_takes_long_at_every_ring_takes_a_fifth_of_the_time() -> None:
    clock = Clock()
    alarm = Alarm(60.0, clock)
    working = 0.0
    for _ in range(2000):
        clock.now += 1
        if alarm():
            clock.now += 90
            working += 90
    assert 0.1 < working / (clock.now - 100) < 0.25


def test_an_alarm_of_no_seconds_rings_at_every_question_while_nothing_takes_time() -> None:
    alarm = Alarm(0.0, Clock())
    assert [alarm() for _ in range(3)] == [True, True, True]

"""What a sensor sees of a loop that is late, by a clock of the test."""

from __future__ import annotations

import math

from mpchat.congestion.controller import Reading
from mpchat.congestion.sensor import LOOK_SECONDS, Sensor

LIMIT = 0.003


class Worker:
    """A loop that comes as late as a test has it, and is busy for a share of its time."""

    def __init__(self, share: float = 1.0) -> None:
        self.now = 1000.0
        self._share = share
        self.sensor = Sensor(lambda: self.now, lambda: (self.now - 1000.0) * share)

    def second(self, late: float, most: float = LIMIT) -> Reading:
        """Run until there is a reading: whenever a look is due, the loop is late."""
        while True:
            self.now += self.sensor.next_look() + late
            if (reading := self.sensor.look(most)) is not None:
                return reading


def test_a_loop_in_time_shows_nothing() -> None:
    assert Worker().second(0.001) == Reading(0, 0, 100)


def test_a_look_that_comes_too_late_is_a_sign() -> None:
    assert Worker().second(0.004).events == 100


def test_looks_that_the_loop_has_slept_through_are_as_late_as_it_is() -> None:
    # Of each 30 ms that the loop stands still, those looks count that are due 3 ms before its end.
    reading = Worker().second(0.0295)
    assert 95 <= reading.events <= 100
    # One long sleep in a second is many signs: what it hides must not look like noise.
    worker = Worker()
    worker.now += 1.2
    found = worker.sensor.look(LIMIT)
    assert found is not None
    assert found.events >= 99


def test_a_worker_that_has_time_is_not_overloaded() -> None:
    assert Worker(share=0.75).second(0.1).events == 0
    assert Worker(share=0.85).second(0.1).events > 90


def test_without_a_limit_there_are_no_signs() -> None:
    assert Worker().second(0.5, math.inf).events == 0


def test_the_load_is_that_of_a_second() -> None:
    worker = Worker()
    worker.sensor.load = 50
    assert worker.second(0).load == 50
    worker.sensor.load = 500
    # Ten seconds have passed in one sleep.
    worker.now += 10
    reading = worker.sensor.look(LIMIT)
    assert reading is not None
    assert reading.load == 50
    assert worker.second(0).load == 0


def test_a_look_before_its_time_counts_nothing() -> None:
    worker = Worker()
    worker.now += LOOK_SECONDS / 2
    assert worker.sensor.look(LIMIT) is None
    assert 0 < worker.sensor.next_look() < LOOK_SECONDS


def test_it_begins_anew() -> None:
    worker = Worker()
    worker.sensor.load = 7
    worker.now += 100
    worker.sensor.begin()
    assert worker.second(0) == Reading(0, 0, 100)

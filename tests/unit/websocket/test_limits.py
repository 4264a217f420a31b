"""Rates, at a clock of the test's own."""

from __future__ import annotations

import pytest

from mpchat.websocket import limits
from mpchat.websocket.limits import Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def play(rate: Rate, clock: Clock, count: int, seconds: float) -> int | None:
    """Count to that number, evenly within that time; return the count that was too much."""
    for number in range(1, count + 1):
        clock.now += seconds / count
        if number >= rate.due and rate.is_exceeded(number):
            return number
    return None


def test_one_more_than_a_second_may_bring_is_too_much(clock: Clock) -> None:
    assert play(Rate(10, clock.now), clock, 11, 0.9) == 11
    assert play(Rate(10, clock.now), clock, 10, 0.0) is None
    assert play(Rate(1, clock.now), clock, 2, 0.9) == 2


@pytest.mark.parametrize("most", [1, 10, 1000])
def test_as_many_as_allowed_for_ever(clock: Clock, most: int) -> None:
    assert play(Rate(most, clock.now), clock, 100 * most, 101.0) is None


@pytest.mark.parametrize("most", [1, 10, 1000])
def test_a_third_more_is_found_soon(clock: Clock, most: int) -> None:
    exceeded = play(Rate(most, clock.now), clock, 100 * most, 75.0)
    assert exceeded is not None
    assert exceeded <= 5 * most


def test_after_a_silence_five_seconds_worth_at_once_and_no_more(clock: Clock) -> None:
    rate = Rate(10, clock.now)
    clock.now += 3600
    assert play(rate, clock, 1000, 0.0) == 61


def test_counts_that_jump_are_judged_by_what_they_jumped(clock: Clock) -> None:
    """Bytes come by the message: one of five seconds' worth is too much at the beginning."""
    assert Rate(1000, clock.now).is_exceeded(5000)
    rate = Rate(1000, clock.now)
    clock.now += 6
    assert not rate.is_exceeded(5000)
    assert rate.is_exceeded(6000)

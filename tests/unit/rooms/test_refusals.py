"""When a client that goes on although its messages are refused has gone on for too long."""

from __future__ import annotations

from mpchat.rooms.refusals import Refusals


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_as_many_as_the_rate_may_be_refused_within_a_second() -> None:
    clock = Clock()
    refusals = Refusals(20, clock)
    assert [refusals.are_too_many() for _ in range(21)] == [False] * 20 + [True]


def test_a_low_rate_has_room_for_a_mistake() -> None:
    refusals = Refusals(1, Clock())
    assert [refusals.are_too_many() for _ in range(11)] == [False] * 10 + [True]


def test_who_waits_a_second_begins_anew() -> None:
    clock = Clock()
    refusals = Refusals(1, clock)
    for _ in range(10):
        assert [refusals.are_too_many() for _ in range(10)] == [False] * 10
        clock.now += 1

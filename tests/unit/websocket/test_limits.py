"""Rates and times of a client, at a clock and on a wheel of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.websocket import limits
from mpchat.websocket.limits import Limits, Rate, Seen
from mpchat.websocket.options import WebsocketOptions
from mpchat.websocket.thresholds import Thresholds

CATCH_UP = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, most: int) -> Rate:
    return Rate(most, clock.now, CATCH_UP, clock)


def play(rate: Rate, clock: Clock, count: int, seconds: float) -> int | None:
    """Count to that number, evenly within that time; return the count that was too much."""
    for number in range(1, count + 1):
        clock.now += seconds / count
        if number >= rate.due and rate.is_exceeded(number):
            return number
    return None


def test_one_more_than_a_second_may_bring_is_too_much(clock: Clock) -> None:
    assert play(made(clock, 10), clock, 11, 0.9) == 11
    assert play(made(clock, 10), clock, 10, 0.0) is None
    assert play(made(clock, 1), clock, 2, 0.9) == 2


@pytest.mark.parametrize("most", [1, 10, 1000])
def test_as_many_as_allowed_for_ever(clock: Clock, most: int) -> None:
    assert play(made(clock, most), clock, 100 * most, 101.0) is None


@pytest.mark.parametrize("most", [1, 10, 1000])
def test_a_third_more_is_found_soon(clock: Clock, most: int) -> None:
    exceeded = play(made(clock, most), clock, 100 * most, 75.0)
    assert exceeded is not None
    assert exceeded <= 5 * most


def test_after_a_silence_five_seconds_worth_at_once_and_no_more(clock: Clock) -> None:
    rate = made(clock, 10)
    clock.now += 3600
    assert play(rate, clock, 1000, 0.0) == 61


def test_counts_that_jump_are_judged_by_what_they_jumped(clock: Clock) -> None:
    """Bytes come by the message: one of five seconds' worth is too much at the beginning."""
    assert made(clock, 1000).is_exceeded(5000)
    rate = made(clock, 1000)
    clock.now += 6
    assert not rate.is_exceeded(5000)
    assert rate.is_exceeded(6000)


class Wheel:
    """Notes what is due."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def set(self, member: Any, delay: float) -> None:
        self.delays.append(delay)
        member.wheel_tick = 1

    def turn(self, clock: Clock, member: Limits) -> None:
        """Let the latest time pass that was set."""
        clock.now += self.delays[-1]
        member.wheel_tick = 0

    def discard(self, member: Any) -> None:
        member.wheel_tick = 0


def watched(clock: Clock, **options: Any) -> tuple[Limits, Wheel]:
    wheel: Any = Wheel()
    given = WebsocketOptions.model_validate({"path": "/", **options})
    return Limits(given, Thresholds(), wheel, clock, clock, clock.now, lambda: None), wheel


def seen(received: int = 0, sent: int = 0, *, within: bool = False, reading: bool = True) -> Seen:
    return Seen(received, sent, within, reading)


def test_nothing_is_due_where_nothing_has_begun(clock: Clock) -> None:
    _client, wheel = watched(clock)
    assert wheel.delays == []


def test_a_message_that_does_not_end(clock: Clock) -> None:
    client, wheel = watched(clock, **{"message-timeout": "8s"})
    client.message_begun(3)
    assert wheel.delays == [8.0]
    wheel.turn(clock, client)
    assert client.judge_times(seen(3, within=True)) is limits.MESSAGE_TOO_SLOW


def test_another_message_begins_its_own_time(clock: Clock) -> None:
    client, wheel = watched(clock, **{"message-timeout": "8s"})
    client.message_begun(3)
    wheel.turn(clock, client)
    assert client.judge_times(seen(4, within=True)) is None
    assert wheel.delays[-1] == 8.0
    wheel.turn(clock, client)
    assert client.judge_times(seen(4)) is None


def test_a_message_is_not_late_while_we_do_not_read(clock: Clock) -> None:
    client, wheel = watched(clock, **{"message-timeout": "8s"})
    client.message_begun(0)
    wheel.turn(clock, client)
    assert client.judge_times(seen(within=True, reading=False)) is None
    clock.now += 4
    client.reading_resumed()
    clock.now += 7
    assert client.judge_times(seen(within=True)) is None
    clock.now += 1
    assert client.judge_times(seen(within=True)) is limits.MESSAGE_TOO_SLOW


def test_an_idle_client_is_found_within_a_quarter_more(clock: Clock) -> None:
    client, wheel = watched(clock, **{"idle-timeout": "20s"})
    begun, verdict = clock.now, None
    for sent in (0, 1, 1, 1, 1, 1, 1, 1):
        wheel.turn(clock, client)
        verdict = verdict or client.judge_times(seen(sent=sent))
        if sent == 0:
            assert verdict is None
        if verdict is not None:
            break
    assert verdict is limits.IDLE
    assert 20 <= clock.now - (begun + 10) <= 25


def test_a_client_that_takes_nothing_of_what_is_sent(clock: Clock) -> None:
    client, wheel = watched(clock, **{"write-timeout": "8s"})
    client.writing_paused(1000)
    assert wheel.delays == [2.0]
    for unread in (1000, 900, 900, 900, 900):
        wheel.turn(clock, client)
        assert client.judge_uptake(lambda unread=unread: unread) is None  # type: ignore[misc]
    wheel.turn(clock, client)
    assert client.judge_uptake(lambda: 900) is limits.NOT_READING


def test_one_that_reads_again_is_not_judged(clock: Clock) -> None:
    client, wheel = watched(clock, **{"write-timeout": "8s"})
    client.writing_paused(1000)
    client.writing_resumed()
    clock.now += 60
    assert client.judge_uptake(lambda: 1000) is None
    assert len(wheel.delays) == 1


def test_verdicts_on_rates_name_their_option(clock: Clock) -> None:
    client, _wheel = watched(
        clock,
        **{
            "max-messages-per-second": 10,
            "max-bytes-per-second": 1000,
            "max-control-frames-per-second": 5,
        },
    )
    assert client.judge_messages(10, 1000) is None
    assert client.judge_messages(11, 1000) is limits.TOO_MANY_MESSAGES
    assert client.judge_messages(11, 1001) is limits.TOO_MANY_BYTES
    assert client.judge_controls(6) is limits.TOO_MANY_CONTROLS


def moved(clock: Clock, client: Limits, **options: Any) -> tuple[Limits, Wheel]:
    """Return what another worker goes on with."""
    other, wheel = watched(clock, **options)
    wheel.delays.clear()
    other.continue_from(client.to_state())
    return other, wheel


def test_a_rate_moves_with_its_credit(clock: Clock) -> None:
    rate, other = made(clock, 10), made(clock, 10)
    clock.now += 3600
    assert play(rate, clock, 45, 0.0) is None
    other.continue_from(rate.to_state())
    assert other.due == rate.due
    assert not other.is_exceeded(51)
    assert other.is_exceeded(61)


def test_the_time_of_a_message_moves(clock: Clock) -> None:
    client, _wheel = watched(clock, **{"message-timeout": "8s"})
    client.message_begun(3)
    clock.now += 5
    other, wheel = moved(clock, client, **{"message-timeout": "8s"})
    assert wheel.delays == [3.0]
    wheel.turn(clock, other)
    assert other.judge_times(seen(3, within=True)) is limits.MESSAGE_TOO_SLOW


def test_the_time_without_a_message_moves(clock: Clock) -> None:
    client, _wheel = watched(clock, **{"idle-timeout": "20s"})
    assert client.judge_times(seen(1)) is None
    clock.now += 15
    other, _wheel = moved(clock, client, **{"idle-timeout": "20s"})
    clock.now += 5
    assert other.judge_times(seen(1)) is limits.IDLE

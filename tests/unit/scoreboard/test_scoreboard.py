"""The scoreboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mpchat.scoreboard.counters import GAUGES, TOTALS, TRAFFIC, Counters
from mpchat.scoreboard.handlers import Served
from mpchat.scoreboard.scoreboard import Row, Scoreboard
from mpchat.scoreboard.seconds import count_in

HANDLERS = Served("chat", "/chat", True), Served("other", "/other", True)


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


def number(board: Scoreboard, row: Row) -> None:
    """Have a row publish the traffic of both handlers."""
    directory = board.directory()
    numbers = directory.numbers(HANDLERS)
    directory.release()
    row.continue_traffic({one.name: place for one, place in zip(HANDLERS, numbers, strict=True)})


def test_totals_go_on_and_gauges_end_with_their_worker(board: Scoreboard) -> None:
    counters = Counters()
    counters.accepted, counters.connections = 5, 3
    row = board.row(1, 0)
    row.publish(counters)
    assert (board.total("accepted", 4), board.total("connections", 4)) == (5, 3)
    row.release()
    board.zero_gauges(1, 0)
    again = board.row(1, 0)
    fresh = Counters()
    fresh.accepted = 2
    again.publish(fresh)
    assert (board.read(1, 0, "accepted"), board.total("connections", 4)) == (7, 0)
    again.release()


def test_whatever_has_changed_is_stored(board: Scoreboard) -> None:
    row, counters = board.row(0, 0), Counters()
    number(board, row)
    row.publish(counters)
    for name in (*TOTALS, *GAUGES):
        for one in HANDLERS if name in TRAFFIC else HANDLERS[:1]:
            place = counters.traffic_of(one.name) if name in TRAFFIC else counters
            setattr(place, name, getattr(place, name) + 7)
            row.publish(counters)
            found = {each: board.read(0, 0, each) for each in (*TOTALS, *GAUGES)}
            assert found == {each: getattr(counters, each) for each in (*TOTALS, *GAUGES)}
    assert board.handler_counts(1, 1)[: len(TRAFFIC)] == [7] * len(TRAFFIC)
    assert board.handler_counts(2, 1)[: len(TRAFFIC)] == [7] * len(TRAFFIC)
    row.release()


def test_a_gauge_that_was_shown_before_the_turn_ended_ends_as_what_it_is(board: Scoreboard) -> None:
    row, counters = board.row(0, 0), Counters()
    row.publish(counters)
    row.set("waiting", 1)
    row.publish(counters)
    assert board.read(0, 0, "waiting") == 0
    row.release()


def test_traffic_from_before_a_handler_had_its_number_is_not_lost(board: Scoreboard) -> None:
    row, counters = board.row(0, 0), Counters()
    counters.traffic_of("chat").messages_received = 5
    row.publish(counters)
    number(board, row)
    row.publish(counters)
    assert board.handler_counts(1, 1)[TRAFFIC.index("messages_received")] == 5
    assert board.read(0, 0, "messages_received") == 5
    row.release()


def test_messages_of_a_second_are_those_since_it_began(board: Scoreboard) -> None:
    now = 100.0
    row, counters = board.row(0, 0, lambda: now), Counters()
    traffic = counters.traffic_of("chat")
    for now, received in ((100.0, 3), (100.5, 5), (101.0, 5), (101.9, 9), (102.0, 9)):
        traffic.messages_received = received
        row.publish_traffic(counters)
        shown = count_in(board.read(0, 0, "messages_in_second"), int(now))
        assert shown == {100: received, 101: received - 5, 102: 0}[int(now)]
    row.release()

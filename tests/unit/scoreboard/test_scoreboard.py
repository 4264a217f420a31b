"""The scoreboard."""

from __future__ import annotations

from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.scoreboard import Scoreboard


def test_totals_go_on_and_gauges_end_with_their_worker() -> None:
    board = Scoreboard.create()
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
    board.close()

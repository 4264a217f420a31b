"""When a client that has not answered a ping is given up."""

from __future__ import annotations

import pytest

from mpchat.websocket.keepalive import AwaitedPong, Opinion
from tests.unit.websocket.rig import Kept, Worker, echo, on_uvloop


def test_a_client_is_dead_when_the_loop_has_read_once_more() -> None:
    pong = AwaitedPong(unread=0)
    assert pong.judge(0, is_reading=True) is Opinion.SUSPICION
    assert pong.judge(0, is_reading=True) is Opinion.DEAD


def test_nobody_is_late_while_we_do_not_read() -> None:
    pong = AwaitedPong(unread=0)
    for _ in range(10):
        assert pong.judge(0, is_reading=False) is Opinion.PATIENCE
    assert pong.judge(0, is_reading=True) is Opinion.SUSPICION


@pytest.mark.parametrize(
    ("unread", "opinion"),
    [(99, Opinion.PATIENCE), (100, Opinion.SUSPICION), (0, Opinion.SUSPICION)],
)
def test_a_client_that_takes_what_came_before_the_ping_is_not_late(
    unread: int, opinion: Opinion
) -> None:
    assert AwaitedPong(unread=100).judge(unread, is_reading=True) is opinion


def test_one_that_stops_reading_is_late_after_all() -> None:
    pong = AwaitedPong(unread=100)
    assert pong.judge(50, is_reading=True) is Opinion.PATIENCE
    assert pong.judge(50, is_reading=True) is Opinion.SUSPICION
    assert pong.judge(50, is_reading=True) is Opinion.DEAD


@on_uvloop
async def test_many_that_follow_another_interval_are_not_pinged_in_one_turn(worker: Worker) -> None:
    protocols = [worker.serve(Kept(), echo, **{"ping-interval": "20s"}) for _ in range(100)]
    begun = {protocol.wheel_tick for protocol in protocols}
    for number, protocol in enumerate(protocols, 1):
        protocol.follow_keepalive(number / len(protocols))
    ticks = [protocol.wheel_tick for protocol in protocols]
    assert ticks == sorted(ticks)
    assert len(set(ticks)) == len(protocols)
    # None later than if it had begun now.
    assert ticks[-1] <= max(begun) + 1 / worker.shared.thresholds.tick_seconds


@on_uvloop
async def test_nobody_is_pinged_when_the_interval_is_0(worker: Worker) -> None:
    protocol = worker.serve(Kept(), echo, **{"ping-interval": "0s"})
    protocol.follow_keepalive(0.5)
    assert protocol.wheel_tick == 0

"""When a client that has not answered a ping is given up."""

from __future__ import annotations

import pytest

from mpchat.websocket.keepalive import AwaitedPong, Opinion


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

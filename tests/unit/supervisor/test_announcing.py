"""Announcements: what is told is so by then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.announcing import Announcer


def test_the_status_has_the_generation_before_anybody_is_told_of_it() -> None:
    board = Scoreboard.create()
    told: list[tuple[str, int]] = []
    manager: Any = SimpleNamespace(
        ready=lambda status: told.append((status, board.service("generation")))
    )
    editions: Any = SimpleNamespace(generation=7)
    pool: Any = SimpleNamespace(policy=SimpleNamespace(pool=[], ready_count=lambda: 4))
    log: Any = None
    Announcer(log, manager, board, editions, pool).reloaded(None)
    assert told == [("4 workers ready, 0 connections, dynamic config generation 7", 7)]
    board.close()

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
    announcer = Announcer(log, manager, board, editions, pool)
    announcer.done = True
    announcer.reloaded(None)
    assert told == [("4 workers ready, 0 connections, dynamic config generation 7", 7)]
    board.close()


def test_a_reload_before_the_service_is_up_does_not_say_that_it_is() -> None:
    board = Scoreboard.create()
    unused: Any = None
    editions: Any = SimpleNamespace(generation=2)
    # Without a manager any word to it would be an error.
    announcer = Announcer(unused, unused, board, editions, unused)
    announcer.reloading()
    announcer.reloaded(None)
    assert board.service("generation") == 2
    board.close()


def test_the_status_names_what_has_failed() -> None:
    board = Scoreboard.create()
    told: list[str] = []
    manager: Any = SimpleNamespace(ready=told.append)
    editions: Any = SimpleNamespace(generation=7)
    pool: Any = SimpleNamespace(policy=SimpleNamespace(pool=[], ready_count=lambda: 1))
    log: Any = None
    announcer = Announcer(log, manager, board, editions, pool)
    announcer.done = True
    announcer.updated("no route\nto it")
    announcer.reloaded(None)
    announcer.updated(None)
    announcer.reloaded(None)
    known = "1 workers ready, 0 connections, dynamic config generation 7"
    assert told == [f"{known}; the last update from the config service failed: no route", known]
    board.close()

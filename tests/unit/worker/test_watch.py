"""What holds an event loop is named in the log, once, with its stack."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from mpchat.components.component import Component
from mpchat.worker.watch import Watch, stack_of_this_thread
from tests.kit.host import under_construction

THRESHOLD = 0.1


class Blocking(Component):
    """Blocks until it is let go, a second at a time."""

    def __init__(self) -> None:
        components = under_construction("handler-blocking")
        super().__init__(self.Options(), components)
        self.let_go = threading.Event()

    def block(self) -> None:
        self.let_go.wait(1)


class Log(logging.Handler):
    """Keeps lines, and lets go of what blocks at the first that names it."""

    def __init__(self, blocking: Blocking | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._blocking = blocking

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + "\n" + (record.stack_info or ""))
        if self._blocking is not None and self.lines[-1].startswith(self._blocking.name):
            self._blocking.let_go.set()


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("mpchat.server")


def test_a_callback_that_holds_the_loop_is_logged_with_its_stack(logger: logging.Logger) -> None:
    blocking = Blocking()
    log = Log(blocking)
    logger.addHandler(log)

    async def handle() -> None:
        # On a busy machine something else may hold the loop first, and is the one that is logged.
        async with asyncio.timeout(30):
            while not blocking.let_go.is_set():
                blocking.block()
                await asyncio.sleep(THRESHOLD)

    with asyncio.Runner() as runner:
        watch = Watch(THRESHOLD, stack_of_this_thread())
        watch.start(runner.get_loop())
        runner.run(handle())
        watch.stop()
    logger.removeHandler(log)
    line = log.lines[-1]
    assert line.startswith("handler-blocking has held the event loop for ")
    assert "in handle\n    blocking.block()" in line
    # The loop's own caller is not part of it.
    assert "runner.run(handle())" not in line


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def frames_now() -> list[FrameType]:
    return [sys._getframe()]


@pytest.fixture
def log(logger: logging.Logger) -> Iterator[Log]:
    handler = Log()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def stall(watch: Watch, clock: Clock, seconds: float) -> None:
    """Let the loop tick, then stand still for so long."""
    watch._ticked = clock.now
    end = clock.now + seconds
    wait = THRESHOLD
    while clock.now + wait <= end:
        clock.now += wait
        wait = max(watch.check(), 0.001)
    clock.now = end


def test_one_warning_for_each_stall_and_not_too_many(log: Log) -> None:
    clock = Clock()
    watch = Watch(THRESHOLD, frames_now, clock)
    stall(watch, clock, 0.05)
    assert log.lines == []
    stall(watch, clock, 5.0)
    assert len(log.lines) == 1
    stall(watch, clock, 1.0)
    stall(watch, clock, 1.0)
    assert len(log.lines) == 1
    clock.now += 10.0
    stall(watch, clock, 1.0)
    assert len(log.lines) == 2
    assert "(2 more since the last warning)" in log.lines[1]


def test_a_loop_that_waits_is_not_held(log: Log) -> None:
    clock = Clock()
    watch = Watch(THRESHOLD, list, clock)
    stall(watch, clock, 5.0)
    assert log.lines == []


def test_a_debugger_holds_the_loop_as_long_as_it_likes(logger: logging.Logger) -> None:
    log, clock = Log(), Clock()
    logger.addHandler(log)
    scope: dict[str, Any] = {"__name__": "bdb", "sys": sys}
    exec("frame = sys._getframe()", scope)
    watch = Watch(THRESHOLD, lambda: [sys._getframe(), scope["frame"]], clock)
    clock.now = 2 * THRESHOLD
    watch.check()
    logger.removeHandler(log)
    assert log.lines == []

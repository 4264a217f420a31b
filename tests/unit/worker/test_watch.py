"""What holds an event loop is named in the log, with its stack, and nothing else is."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from mpchat.components.component import Component
from mpchat.dynamic_config.variables import ProfilerDebug
from mpchat.worker.watch import Watch, profile_of, stack_of_this_thread
from tests.kit.host import under_construction

THRESHOLD = 0.125
"""Its parts are exact numbers, too."""
LOOK = THRESHOLD / 4


class Blocking(Component):
    """Blocks until it is let go, a second at a time."""

    def __init__(self, name: str = "handler-blocking") -> None:
        super().__init__(self.Options(), under_construction(name))
        self.let_go = threading.Event()

    def block(self) -> None:
        self.let_go.wait(1)

    def frame(self) -> FrameType:
        """A frame of its code, another one each time."""
        return sys._getframe()


class Log(logging.Handler):
    """Keeps lines, and lets go of what blocks at the first that names it."""

    def __init__(self, blocking: Blocking | None = None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._blocking = blocking

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if self._blocking is not None and record.getMessage().startswith(self._blocking.name):
            self._blocking.let_go.set()

    @property
    def lines(self) -> list[str]:
        return [f"{item.getMessage()}\n{item.stack_info or ''}" for item in self.records]


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("mpchat.server")


@pytest.fixture
def log(logger: logging.Logger) -> Iterator[Log]:
    handler = Log()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def profile(microseconds: int, *, stack: bool = False, enabled: bool = True) -> ProfilerDebug:
    return ProfilerDebug.model_validate(
        {
            "enabled": enabled,
            "execution-slice-threshold-us": microseconds,
            "profiler-force-stacktrace": stack,
        }
    )


@pytest.mark.parametrize("by", ["threshold", "profiler"])
def test_a_callback_that_holds_the_loop_is_logged_with_its_stack(
    logger: logging.Logger, by: str
) -> None:
    blocking = Blocking()
    log = Log(blocking)
    logger.addHandler(log)

    async def handle() -> None:
        # On a busy machine something else may hold the loop first, and is the one that is logged.
        async with asyncio.timeout(60):
            while not blocking.let_go.is_set():
                blocking.block()
                await asyncio.sleep(THRESHOLD)

    with asyncio.Runner() as runner:
        call_soon = runner.get_loop().call_soon_threadsafe
        watch = Watch(THRESHOLD if by == "threshold" else 0, stack_of_this_thread(), call_soon)
        watch.follow(profile(2000, stack=True) if by == "profiler" else None)
        runner.run(handle())
        watch.stop()
    logger.removeHandler(log)
    line = log.lines[-1]
    said = "has held the event loop for " if by == "threshold" else "held the event loop for "
    assert line.startswith(f"handler-blocking {said}")
    assert "in handle\n    blocking.block()" in line
    # The loop's own caller is not part of it.
    assert "runner.run(handle())" not in line


class Stage:
    """A watch, and what it watches: a loop whose time passes as the test says."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.now = 0.0
        self._frames: list[FrameType] = []
        self._asked: list[Callable[[], None]] = []
        self.watch = Watch(threshold, lambda: self._frames, self._asked.append, lambda: self.now)

    def runs(self, seconds: float, *frames: FrameType) -> None:
        """The loop runs this callback, and then turns."""
        self._frames = list(frames)
        end = self.now + seconds
        while self.now < end - LOOK / 2:
            self.watch.check()
            self.now += LOOK
        self.turns()

    def turns(self) -> None:
        while self._asked:
            self._asked.pop()()

    def waits(self, seconds: float) -> None:
        self._frames = []
        self.watch.check()
        self.now += seconds

    def is_asked(self) -> bool:
        return bool(self._asked)


def test_one_warning_for_each_stall_and_not_too_many(log: Log) -> None:
    stage, one, other = Stage(), Blocking("handler-one"), Blocking("handler-other")
    stage.runs(THRESHOLD, one.frame())
    assert log.lines == []
    stage.runs(5.0, one.frame())
    (line,) = log.lines
    assert line.startswith("handler-one has held the event loop for 0.12 s, and every client of ")
    assert "in frame\n" in line
    stage.runs(1.0, one.frame())
    stage.runs(2.0, one.frame())
    assert len(log.lines) == 1
    stage.runs(1.0, other.frame())
    assert log.lines[1].startswith("handler-other has held")
    stage.waits(10.0)
    stage.runs(1.0, one.frame())
    assert len(log.lines) == 3
    assert "(2 more since the last line, up to 0.125 s)" in log.lines[2]


def test_many_short_callbacks_hold_no_loop(log: Log) -> None:
    stage, blocking = Stage(), Blocking()
    stage._frames = [blocking.frame()]
    for _ in range(100):
        # The loop has not turned, but each time it runs another callback.
        stage.watch.check()
        stage._frames = [blocking.frame()]
        stage.now += LOOK
    assert stage.is_asked()
    assert log.lines == []


def test_steps_of_one_coroutine_are_not_one_callback(log: Log) -> None:
    stage, frame = Stage(), Blocking().frame()
    for _ in range(100):
        stage.runs(THRESHOLD, frame)
    assert log.lines == []


def test_a_loop_that_waits_is_neither_held_nor_asked(log: Log) -> None:
    stage = Stage()
    for _ in range(100):
        stage.waits(LOOK)
    assert not stage.is_asked()
    assert log.lines == []


@pytest.mark.parametrize("profiled", [None, profile(1000)])
def test_a_debugger_holds_the_loop_as_long_as_it_likes(
    log: Log, profiled: ProfilerDebug | None
) -> None:
    scope: dict[str, Any] = {"__name__": "bdb", "sys": sys}
    exec("frame = sys._getframe()", scope)
    stage = Stage()
    stage.watch._profile = profiled
    stage.runs(5.0, sys._getframe(), scope["frame"])
    stage.waits(1)
    assert log.lines == []


def test_the_profiler_tells_at_the_end_how_long_a_callback_took(log: Log) -> None:
    stage, blocking = Stage(), Blocking()
    # As follow() sets it; but the test looks itself.
    stage.watch._profile = profile(62_500)
    stage.runs(2 * LOOK, blocking.frame())
    stage.waits(1)
    assert log.lines == []
    stage.runs(3 * LOOK, blocking.frame(), sys._getframe())
    assert log.lines == []
    stage.waits(1)
    (record,) = log.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(
        "handler-blocking held the event loop for 62.5 ms, execution-slice-threshold-us is 62500: "
        "in frame (test_watch.py:"
    )
    assert ", test_the_profiler_tells_at_the_end_how_long_a_callback_took (" in record.getMessage()
    assert record.stack_info is None
    stage.runs(4 * LOOK, blocking.frame())
    stage.runs(2 * THRESHOLD, blocking.frame())
    stage.waits(10)
    # That one was over the other threshold, too.
    assert [record.levelname for record in log.records] == ["ERROR", "WARNING"]
    stage.runs(THRESHOLD, blocking.frame())
    stage.waits(1)
    assert "is 62500 (2 more since the last line, up to 0.219 s): in frame (" in log.lines[2]


def test_the_stack_is_logged_where_it_is_forced(log: Log) -> None:
    stage = Stage(threshold=0)
    stage.watch._profile = profile(62_500, stack=True)
    stage.runs(1, Blocking().frame())
    stage.waits(1)
    (record,) = log.records
    assert "in frame\n    return sys._getframe()" in (record.stack_info or "")


def test_without_a_threshold_there_is_no_thread() -> None:
    stage, interval = Stage(threshold=0), sys.getswitchinterval()
    before = threading.active_count()
    stage.watch.follow(None)
    assert threading.active_count() == before
    stage.watch.follow(profile(2000))
    assert threading.active_count() == before + 1
    # One that wants to look is not to wait for the whole threshold.
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    stage.watch.follow(None)
    assert sys.getswitchinterval() == interval
    stage.watch.stop()
    assert threading.active_count() == before


def test_a_profile_is_looked_for_by_the_pool_and_then_by_default() -> None:
    own, default = profile(1), profile(2)
    assert profile_of({"main": own, "default-task-processor": default}, "main") is own
    assert profile_of({"default-task-processor": default}, "main") is default
    off = profile(3, enabled=False)
    assert profile_of({"main": off, "default-task-processor": default}, "main") is None
    assert profile_of({"fs-task-processor": own}, "main") is None

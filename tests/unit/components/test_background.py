"""Background tasks of components: what fails is told at once, what runs is cancelled in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mpchat.components.background import Background
from mpchat.components.component import Component, Components
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.scoreboard.locks import Lock, Locks
from mpchat.scoreboard.scoreboard import Scoreboard
from tests.kit.host import FakeHost


@dataclass(frozen=True)
class Plan:
    name: str
    cls: type[Component]
    options: Any = None


class Worker(Component):
    name = "worker"

    async def fail(self, error: BaseException) -> None:
        raise error

    async def wait(self) -> None:
        await asyncio.Event().wait()


def build(cls: type[Component]) -> tuple[Components, Any]:
    components = Components([Plan("worker", cls)], lambda: Snapshot(1, {}, ()), FakeHost())
    (component,) = components.build()
    return components, component


@pytest.mark.parametrize(
    "error", [ValueError("why"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
async def test_a_failure_is_logged_at_once_by_name(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    _components, worker = build(Worker)
    await worker.spawn(worker.fail, error)
    (record,) = caplog.records
    assert record.name == "mpchat.components.worker"
    assert record.getMessage() == "the background task fail failed"
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_a_task_has_the_name_that_it_is_given(caplog: pytest.LogCaptureFixture) -> None:
    _components, worker = build(Worker)
    task = worker.spawn(worker.fail, ValueError(), name="cleaning")
    assert task.get_name() == "cleaning"
    await task
    assert caplog.messages == ["the background task cleaning failed"]


async def test_a_task_that_its_author_cancels_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _components, worker = build(Worker)
    task = worker.spawn(worker.wait, restart=True)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert caplog.records == []


async def test_tasks_are_over_when_their_component_stops() -> None:
    told: list[str] = []

    class Connected(Component):
        name = "worker"

        async def start(self) -> None:
            self.spawn(self.listen)

        async def listen(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                told.append("said goodbye")

        async def stop(self) -> None:
            told.append("disconnected")

    components, component = build(Connected)
    await components.start()
    await asyncio.sleep(0)
    await components.stop()
    assert told == ["said goodbye", "disconnected"]
    with pytest.raises(RuntimeError, match="background task listen: its component is stopped"):
        component.spawn(component.listen)


async def test_a_coroutine_in_place_of_its_function_is_refused() -> None:
    _components, worker = build(Worker)
    with pytest.raises(TypeError, match=r"self\.spawn\(self\.run, 1\), not"):
        worker.spawn(worker.wait())


async def test_a_handler_logs_its_tasks_as_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class Handler(HttpHandlerBase):
        async def fail(self) -> None:
            raise LookupError

    options = Handler.Options(path="/")
    components = Components([Plan("h", Handler, options)], lambda: Snapshot(1, {}, ()), FakeHost())
    (handler,) = components.build()
    assert isinstance(handler, Handler)
    await handler.spawn(handler.fail)
    assert [record.name for record in caplog.records] == ["mpchat.handlers.h"]


class Failing:
    """Fails whenever it runs, each time after a run of some length."""

    def __init__(self, *lengths: float) -> None:
        self.now = 0.0
        self.lengths = [*lengths]
        self.enough = asyncio.Event()

    async def run(self) -> None:
        if not self.lengths:
            self.enough.set()
            await asyncio.Event().wait()
        self.now += self.lengths.pop(0)
        raise ConnectionError("gone")


@pytest.mark.parametrize(
    ("longest", "lengths", "pauses"),
    [
        (0.004, [0, 0, 0, 0], [0.001, 0.002, 0.004, 0.004]),
        (0.5, [0, 0, 0.5, 0.4], [0.001, 0.002, 0.001, 0.002]),
    ],
)
async def test_a_task_that_fails_may_run_again(
    caplog: pytest.LogCaptureFixture, longest: float, lengths: list[float], pauses: list[float]
) -> None:
    failing = Failing(*lengths)
    background = Background(0.001, longest, lambda: failing.now)
    background.spawn(failing.run, "run", build(Worker)[1].logger, restart=True)
    async with asyncio.timeout(10):
        await failing.enough.wait()
    await background.stop()
    assert caplog.messages == [
        message
        for pause in pauses
        for message in (
            "the background task run failed",
            f"the background task run runs again in {pause:g} s",
        )
    ]


async def test_one_that_fails_while_it_is_cancelled_does_not_run_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = 0
    running = asyncio.Event()

    async def stubborn() -> None:
        nonlocal runs
        runs += 1
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot say goodbye")

    background = Background(0.001, 0.004)
    worker = build(Worker)[1]
    task = background.spawn(stubborn, "run", worker.logger, restart=True)
    async with asyncio.timeout(10):
        await running.wait()
        await background.stop()
    assert (runs, task.done()) == (1, True)
    assert caplog.messages == ["the background task run failed"]


async def test_a_task_that_returns_is_not_run_again() -> None:
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    background = Background(0, 0)
    await background.spawn(once, "once", build(Worker)[1].logger, restart=True)
    assert runs == 1


OTHER_WORKER = """
import sys
from mpchat.scoreboard.locks import Locks

print(Locks(int(sys.argv[1])).make("worker/wait").take(), flush=True)
sys.stdin.read()
"""


@contextmanager
def other_worker(descriptor: int) -> Iterator[bool]:
    """Another process tries to take the lock: yield whether it has it, until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_WORKER, str(descriptor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[descriptor],
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline() == "True\n"
        finally:
            process.kill()


async def test_a_task_of_the_service_runs_in_one_worker_at_a_time() -> None:
    scoreboard = Scoreboard.create()
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()

    background = Background(lock_pause=0.001)
    lock = Locks(scoreboard.descriptor).make("worker/wait")
    with other_worker(scoreboard.descriptor) as holds:
        assert holds
        background.spawn(run, "wait", logging.getLogger("test"), restart=False, lock=lock)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not begun.is_set()
    await asyncio.wait_for(begun.wait(), 10)
    # It is kept until the component has ended, also when the task is over.
    with other_worker(scoreboard.descriptor) as holds:
        assert not holds
    await background.stop()
    with other_worker(scoreboard.descriptor) as holds:
        assert holds
    scoreboard.close()


async def test_a_lock_that_the_system_refuses_is_logged_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refused(Lock):
        refusals = 3

        def take(self) -> bool:
            self.refusals -= 1
            if self.refusals >= 0:
                raise OSError(errno.ENOLCK, "No locks available")
            return True

        def release(self) -> None:
            pass

    background = Background(lock_pause=0.001)

    async def run() -> None:
        pass

    await background.spawn(run, "run", logging.getLogger("test"), False, Refused(-1, 0))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "the background task run waits: its lock cannot be taken: No locks available"
    ]
    await background.stop()


async def test_two_tasks_of_the_service_in_a_component_need_two_names() -> None:
    components, worker = build(Worker)
    worker.spawn(worker.wait, once_per_service=True)
    worker.spawn(worker.wait, once_per_service=True, name="another")
    with pytest.raises(ValueError, match="worker/wait"):
        worker.spawn(worker.wait, once_per_service=True)
    await components.stop()

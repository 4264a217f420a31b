"""The four steps of an end, in a time that passes at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mpchat.server.drain import Drain
from tests.unit.server.virtual import run

BACKLOG = 7


class Rig:
    """A drain, with its clients; ``log`` has what happened, with the second."""

    def __init__(self, connections: int = 0, waiting: int = 0, answers: bool = True) -> None:
        self.log: list[tuple[float, str]] = []
        self.answers = answers
        """Whether clients answer a Close at once"""
        self.refusing = False
        self.ending: int | None = None
        self.connections: set[Any] = {_Connection(self) for _ in range(connections)}
        self.waiting: set[Any] = {_Waiting(self) for _ in range(waiting)}
        self._loop = asyncio.get_running_loop()
        self._left = asyncio.Event()
        rig: Any = self
        self.drain = Drain(self._loop, rig, rig, self.adopted, BACKLOG, random_part=lambda: 0.0)

    def note(self, what: str) -> None:
        self.log.append((round(self._loop.time(), 3), what))

    def steps(self) -> list[str]:
        """Return what happened, each of several things in a row once."""
        names = [what for _at, what in self.log]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    # As an acceptor
    def finish(self, most: int) -> None:
        assert most == BACKLOG
        self.note("accept queued" + (", refusing" if self.refusing else ""))

    def leave(self) -> None:
        self.note("leave")

    async def adopted(self) -> None:
        self.note("adopted")

    # As a registry
    @property
    def early(self) -> list[Any]:
        return list(self.waiting)

    async def wait_empty(self, end: float) -> None:
        while self.connections or self.waiting:
            self._left.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._left.wait()
            except TimeoutError:
                return

    def gone(self, one: Any) -> None:
        self.connections.discard(one)
        self.waiting.discard(one)
        self._left.set()


class _Connection:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def drain(self, code: int) -> None:
        self.rig.note(f"drain {code}")
        if self.rig.answers:
            self.rig.gone(self)

    def cancel(self, code: int) -> None:
        self.rig.note(f"cancel {code}")

    def abort(self) -> None:
        self.rig.note("abort")
        self.rig.gone(self)


class _Waiting:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def end_if_idle(self, fresh_seconds: float) -> None:
        self.rig.note(f"end if idle, {fresh_seconds} s")

    def abort(self) -> None:
        self.rig.note("abort")
        self.rig.gone(self)


def on_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def wrapped() -> None:
        run(test())

    wrapped.__name__ = test.__name__
    return wrapped


@on_virtual_time
async def test_a_stop_takes_four_steps() -> None:
    rig = Rig(connections=2, waiting=1, answers=False)
    await rig.drain.stop(3.0, window=5.0, deadline=10.0)
    assert rig.log == [
        (3.0, "accept queued, refusing"),
        (3.0, "adopted"),
        (3.0, "end if idle, 0.5 s"),
        (3.0, "drain 1001"),
        (3.01, "drain 1001"),
        (13.0, "cancel 1001"),
        (13.0, "cancel 1001"),
        (13.5, "abort"),
        (13.5, "abort"),
        (13.5, "abort"),
    ]
    assert rig.ending == 1001


@on_virtual_time
async def test_a_worker_that_retires_leaves_new_clients_to_its_siblings() -> None:
    rig = Rig(connections=2)
    await rig.drain.retire(1012, window=5.0, deadline=10.0)
    assert rig.steps() == ["leave", "adopted", "drain 1012"]
    assert not rig.refusing
    assert rig.ending == 1012


@on_virtual_time
async def test_it_ends_when_the_last_client_has_left() -> None:
    rig = Rig(connections=300)
    await rig.drain.stop(0.0, window=2.0, deadline=10.0)
    seconds = [at for at, what in rig.log if what == "drain 1001"]
    # Each in its share of the window.
    assert len(seconds) == 300
    assert seconds == sorted(seconds)
    assert 1.9 < seconds[-1] < 2.0
    assert rig.log[-1] == (seconds[-1], "drain 1001")


@on_virtual_time
async def test_in_a_hurry_everything_ends_within_a_second() -> None:
    rig = Rig(connections=1, waiting=1)
    await rig.drain.hurry(1001)
    assert rig.log == [
        (0.0, "accept queued, refusing"),
        (0.0, "adopted"),
        (0.0, "end if idle, 0.0 s"),
        (0.0, "cancel 1001"),
        (0.5, "abort"),
        (0.5, "abort"),
    ]


@on_virtual_time
async def test_a_drain_that_is_cancelled_can_be_hurried() -> None:
    rig = Rig(connections=1, answers=False)
    task = asyncio.ensure_future(rig.drain.stop(0.0, window=5.0, deadline=10.0))
    await asyncio.sleep(4.0)
    task.cancel()
    await asyncio.wait((task,))
    await rig.drain.hurry(1001)
    assert rig.log[-2:] == [(4.0, "cancel 1001"), (4.5, "abort")]


def test_connections_that_outlast_the_deadline_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def stop() -> None:
        await Rig(connections=2, answers=False).drain.stop(0.0, window=1.0, deadline=2.0)

    with caplog.at_level(logging.WARNING, logger="mpchat.server"):
        run(stop())
    assert caplog.messages == ["2 connections had not ended by the deadline"]

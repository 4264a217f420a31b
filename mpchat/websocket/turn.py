"""One turn of the worker's event loop: what is gathered during it and done once at its end.

Rules. One object for each worker. Whoever has something to do at the end of a turn adds itself; the
first to do so schedules the one callback that serves all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class HasTurnWork(Protocol):
    """Whoever may join a turn."""

    def end_turn(self) -> None:
        """Do what has been gathered."""


class Turn:
    """The end of the present turn, shared by all connections of a worker."""

    __slots__ = ("_loop", "_members", "_publish", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop, publish: Callable[[], None]) -> None:
        self._loop = loop
        self._publish = publish
        self._members: list[HasTurnWork] = []
        self._scheduled = False

    def join(self, member: HasTurnWork) -> None:
        """Have ``member.end_turn`` called when this turn ends."""
        self._members.append(member)
        self.touch()

    def touch(self) -> None:
        """Have the counters published when this turn ends."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end)

    def publish_now(self) -> None:
        """Publish the counters at once: before a socket is closed they are up to date."""
        self._publish()

    def _end(self) -> None:
        self._scheduled = False
        members, self._members = self._members, []
        for member in members:
            member.end_turn()
        self._publish()

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
    """The end of the present turn, shared by all connections of a worker.

    Counters of traffic change in every turn and are published at its end; the rest is if it was touched.
    ``is_scheduled`` is for callers on the hot path, who save themselves a call.
    """

    __slots__ = (
        "_loop",
        "_members",
        "_publish",
        "_publish_traffic",
        "_touched",
        "is_scheduled",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        publish: Callable[[], None],
        publish_traffic: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._publish = publish
        self._publish_traffic = publish_traffic
        self._members: list[HasTurnWork] = []
        self._touched = False
        self.is_scheduled = False

    def join(self, member: HasTurnWork) -> None:
        """Have ``member.end_turn`` called when this turn ends."""
        self._members.append(member)
        self.schedule()

    def touch(self) -> None:
        """Have all counters published when this turn ends."""
        self._touched = True
        self.schedule()

    def schedule(self) -> None:
        """Have the counters of traffic published when this turn ends."""
        if not self.is_scheduled:
            self.is_scheduled = True
            self._loop.call_soon(self._end)

    def publish_now(self) -> None:
        """Publish the counters at once: before a socket is closed they are up to date."""
        self._publish()

    def _end(self) -> None:
        self.is_scheduled = False
        members = self._members
        if members:
            self._members = []
            for member in members:
                member.end_turn()
        if self._touched:
            self._touched = False
            self._publish()
        else:
            self._publish_traffic()

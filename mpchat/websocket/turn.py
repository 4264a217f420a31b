"""One turn of the worker's event loop: what is gathered during it and done once at its end.

Rules. One object for each worker. Whoever has something to do at the end of a turn adds itself; the
first to do so schedules the one callback that serves all. What rare events count is published at the end
of their turn, what messages count a hundred times a second: a callback in each turn would cost a message
that comes alone a tenth of its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class HasTurnWork(Protocol):
    """Whoever may join a turn."""

    def end_turn(self) -> None:
        """Do what has been gathered."""


PUBLISH_SECONDS = 0.01
"""How old the published counters of messages may be."""


class Turn:
    """The end of the present turn, shared by all connections of a worker.

    Attributes:
        is_counting: What messages count is going to be published: callers on the hot path ask before
            they call ``count``.
    """

    __slots__ = (
        "_is_scheduled",
        "_loop",
        "_members",
        "_publish",
        "_publish_traffic",
        "_touched",
        "is_counting",
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
        self._is_scheduled = False
        self.is_counting = False

    def join(self, member: HasTurnWork) -> None:
        """Have ``member.end_turn`` called when this turn ends."""
        self._members.append(member)
        self._schedule()

    def touch(self) -> None:
        """Have all counters published when this turn ends."""
        self._touched = True
        self._schedule()

    def count(self) -> None:
        """Have the counters of traffic published soon."""
        if not self.is_counting:
            self.is_counting = True
            self._loop.call_later(PUBLISH_SECONDS, self._count)

    def publish_now(self) -> None:
        """Publish the counters at once: before a socket is closed they are up to date."""
        self._publish()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._is_scheduled = False
        members = self._members
        if members:
            self._members = []
            for member in members:
                member.end_turn()
            # What was gathered is counted when it is written.
            self.count()
        if self._touched:
            self._touched = False
            self._publish()

    def _count(self) -> None:
        self.is_counting = False
        self._publish_traffic()

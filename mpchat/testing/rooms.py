"""The broker of a worker in memory: its code in the same event loop, its history in memory of its own."""

from __future__ import annotations

import asyncio
import os

from mpchat.broker.inprocess import InProcessBroker
from mpchat.broker.members import total_of
from mpchat.ipc.pairing import BrokerPairs
from mpchat.linux import descriptors
from mpchat.rooms.options import RoomsOptions
from mpchat.testsuite.rooms import Memberships


class RoomsInMemory:
    """A broker and its history."""

    def __init__(self, options: RoomsOptions) -> None:
        self._options = options
        self._history: int | None = None
        if options.history_memory:
            # Not taken from the system in advance: a test writes little of it.
            self._history = os.memfd_create("mpchat-history")
            os.ftruncate(self._history, options.history_memory)
        self._broker: InProcessBroker | None = None

    def connect(self, pairs: BrokerPairs) -> None:
        """Give the worker a fresh pair to the broker."""
        if self._broker is None:
            loop = asyncio.get_running_loop()
            self._broker = InProcessBroker(loop, self._options, self._history)
        message, end = self._broker.connect()
        pairs.arrived(message, [end.detach()])

    def count(self, room: str) -> int | str:
        """Return how many members a room has, or why nobody knows."""
        if self._broker is None:
            return "there is no broker"
        found = self._broker.broker.members.rooms.get(room.encode())
        return 0 if found is None else total_of(found)

    def kill(self) -> None:
        """End the broker; the history stays for the next one."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None

    def close(self) -> None:
        """End, and forget everything."""
        self.kill()
        if self._history is not None:
            descriptors.close(self._history)


class MemoryMemberships(Memberships):
    """The members of the rooms of a worker in memory."""

    def __init__(self, rooms: RoomsInMemory | None, time_limit: float) -> None:
        self._rooms = rooms
        self._seconds = time_limit

    async def _count(self, room: str) -> int | str:
        return "this service has no rooms" if self._rooms is None else self._rooms.count(room)

"""The end of a worker's clients: nobody is cut off who could have been told.

Rules. An end has four steps. A stop of the service takes all of them; a worker that retires leaves the
first two to its siblings, which accept from the same sockets; a worker in a hurry has no time for the
third.

1. Refuse: new requests get 503, while the worker still accepts.
2. Accept the queued clients, and close the listening sockets.
3. Close the connections, each at its own time within the window, and wait for them until the deadline.
4. Cut off the rest: close what is left at once, wait a moment for the answers, close the sockets.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from mpchat.server.accepting import Acceptor
from mpchat.server.registry import Registry
from mpchat.server.spread import closing_times

_GOING_AWAY = 1001
_NOW_SECONDS = 0.5
"""Seconds for the answers to our last Closes, and for the sockets to end after an abort."""
_FRESH_SECONDS = 0.5
"""Seconds for the request of a client that has just connected when its worker begins to end."""
_SHORTEST_SLEEP = 0.001
"""Seconds; the loop would round up a shorter sleep to this."""

log = logging.getLogger("mpchat.server")


class Drain:
    """The end of one worker's clients.

    ``adopted`` waits for the accepted sockets that have no transport yet. ``backlog`` is the number of
    clients that may wait in the queue of a listening socket.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        acceptor: Acceptor,
        registry: Registry,
        adopted: Callable[[], Awaitable[None]],
        backlog: int,
        random_part: Callable[[], float] = random.random,
    ) -> None:
        self._loop = loop
        self._acceptor = acceptor
        self._registry = registry
        self._adopted = adopted
        self._backlog = backlog
        self._random_part = random_part

    async def stop(self, lameduck: float, window: float, deadline: float) -> None:
        """End everything for a stop of the service; all times are in seconds."""
        await self._refuse(lameduck)
        await self._accept_queued()
        await self._close(_GOING_AWAY, window, deadline)
        await self._cut_off(_GOING_AWAY)

    async def retire(self, code: int, window: float, deadline: float) -> None:
        """End the connections of this worker with a close code; siblings take new clients."""
        self._acceptor.leave()
        await self._adopted()
        await self._close(code, window, deadline)
        await self._cut_off(code)

    async def hurry(self, code: int) -> None:
        """End everything within a second."""
        await self._refuse(0.0)
        await self._accept_queued()
        self._begin_end(code, 0.0)
        await self._cut_off(code)

    async def _refuse(self, lameduck: float) -> None:
        self._registry.refusing = True
        if lameduck:
            await asyncio.sleep(lameduck)

    async def _accept_queued(self) -> None:
        self._acceptor.finish(self._backlog)
        await self._adopted()

    async def _close(self, code: int, window: float, deadline: float) -> None:
        registry, begun = self._registry, self._loop.time()
        self._begin_end(code, _FRESH_SECONDS)
        connections = list(registry.connections)
        times = closing_times(len(connections), window, deadline, self._random_part)
        for protocol, at in zip(connections, times, strict=True):
            wait = begun + at - self._loop.time()
            if wait > _SHORTEST_SLEEP:
                await asyncio.sleep(wait)
            protocol.drain(code)
        await registry.wait_empty(begun + deadline)
        if registry.connections:
            log.warning("%d connections had not ended by the deadline", len(registry.connections))

    async def _cut_off(self, code: int) -> None:
        registry = self._registry
        for protocol in list(registry.connections):
            protocol.cancel(code)
        await registry.wait_empty(self._loop.time() + _NOW_SECONDS)
        for protocol in list(registry.connections):
            protocol.abort()
        for early in registry.early:
            early.abort()
        await registry.wait_empty(self._loop.time() + _NOW_SECONDS)

    def _begin_end(self, code: int, fresh_seconds: float) -> None:
        """End the clients without a request; from now on every answer is the last of its client."""
        self._registry.ending = code
        for early in self._registry.early:
            early.end_if_idle(fresh_seconds)

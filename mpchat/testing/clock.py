"""A clock that stands still until a test advances it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

_TURNS = 20
"""Turns of the event loop after each timer. From a ping to its pong are four; a handler may need more."""

_LATE = 1e-6
"""Seconds by which a timer is late: as in an event loop it is never early, however times are divided."""


class Timer:
    """A call that a clock makes when its time comes."""

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        """Do not make the call."""
        self.callback = None


class Clock:
    """The time of a worker under test: every ping, time limit and rate of the server goes by it.

    ``asyncio.sleep`` and ``asyncio.timeout`` in the code under test go by the event loop's own time.
    """

    def __init__(self) -> None:
        # The code under test may reckon with the system's clock, as for the end of an identity.
        self._now = time.time()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self._now

    async def advance(self, seconds: float) -> None:
        """Let time pass: all that is due happens in order, and the other side can react to each."""
        end = self._now + seconds
        # What the test has just done comes first.
        await _settle()
        while self._timers and self._timers[0][0] <= end:
            when, _number, timer = heapq.heappop(self._timers)
            callback = timer.callback
            if callback is None:
                continue
            self._now = max(self._now, when + _LATE)
            # Not from this task: the server's code runs in callbacks of the loop.
            asyncio.get_running_loop().call_soon(callback)
            await _settle()
        self._now = max(self._now, end)

    def call_at(self, when: float, callback: Callable[[], Any], /) -> Timer:
        """Call ``callback`` from the event loop when the time has come."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Limit what follows to so many seconds, as ``asyncio.timeout``."""
        async with asyncio.timeout(None) as limit:
            loop = asyncio.get_running_loop()
            timer = self.call_at(self._now + seconds, lambda: limit.reschedule(loop.time()))
            try:
                yield
            finally:
                timer.cancel()


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)

"""One timer wheel for all connections of a worker, in place of a timer for each.

Rules. Times are rounded up to a tick, so nothing expires early. A member waits for one thing at a time;
setting it again replaces what it waited for. With no member there is no timer, and an idle worker sleeps.
Of many that expire at once, such as clients who came together, so many are told in a turn of the loop:
those that are left are told in the next turns, and other clients are served in between.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from typing import Protocol

TICK = 0.05
"""Seconds between two moments at which something can expire."""
_PER_TURN = 4
"""To close a socket with much in its queue takes a fifth of a millisecond."""


class Member(Protocol):
    """Whoever waits on the wheel."""

    wheel_tick: int

    def expire(self) -> None:
        """The time has come."""


class Wheel:
    """Members by the tick at which they expire."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, set[Member]] = {}
        self._ticks: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def set(self, member: Member, delay: float) -> None:
        """Have ``member.expire`` called once, no earlier than in ``delay`` seconds."""
        self.discard(member)
        tick = math.floor((self._loop.time() + delay) / TICK) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            heapq.heappush(self._ticks, tick)
            if self._ticks[0] == tick:
                self._arm()
        bucket.add(member)
        member.wheel_tick = tick

    def discard(self, member: Member) -> None:
        """Forget it; it may not be waiting at all."""
        bucket = self._buckets.get(member.wheel_tick)
        if bucket is not None:
            bucket.discard(member)
        member.wheel_tick = 0

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._ticks[0] * TICK, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = math.floor(self._loop.time() / TICK)
        left = _PER_TURN
        try:
            while left and self._ticks and self._ticks[0] <= now:
                bucket = self._buckets[self._ticks[0]]
                # One that is told may discard others, or set them anew: for a later tick.
                while bucket and left:
                    left -= 1
                    member = bucket.pop()
                    member.wheel_tick = 0
                    member.expire()
                if not bucket:
                    del self._buckets[heapq.heappop(self._ticks)]
        finally:
            if self._ticks:
                self._arm()

"""One timer wheel for all connections of a worker, in place of a timer for each.

Rules. Times are rounded up to a tick, so nothing expires early. A member waits for one thing at a time;
setting it again replaces what it waited for. With no member there is no timer, and an idle worker sleeps.
When many expire at once, such as clients that came together, each turn of the loop tells a few of them,
and other clients are served in between.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any, Protocol

from mpchat.websocket.thresholds import Thresholds


class Member(Protocol):
    """A member of the wheel."""

    wheel_tick: int

    def expire(self) -> None:
        """The time has come."""


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class Timers(Protocol):
    """A clock with timers: the event loop, or a clock that a test advances."""

    def time(self) -> float:
        """Return the seconds since some moment."""

    def call_at(self, when: float, callback: Callable[[], Any], /) -> Timer:
        """Call ``callback`` from the loop when the clock has come to ``when``."""


class Wheel:
    """Members by the tick at which they expire.

    Attributes:
        time: Returns the time by which they do.
    """

    def __init__(self, timers: Timers, thresholds: Thresholds) -> None:
        self._timers = timers
        self.time = timers.time
        self._tick = thresholds.tick_seconds
        self._max_expired = thresholds.max_expired
        self._buckets: dict[int, set[Member]] = {}
        self._ticks: list[int] = []
        self._timer: Timer | None = None

    def set(self, member: Member, delay: float) -> None:
        """Have ``member.expire`` called once, no earlier than in ``delay`` seconds."""
        if member.wheel_tick:
            self.discard(member)
        tick = int((self.time() + delay) / self._tick) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            heapq.heappush(self._ticks, tick)
            if self._ticks[0] == tick:
                self._arm()
        bucket.add(member)
        member.wheel_tick = tick

    def discard(self, member: Member) -> None:
        """Forget the member, if it waits."""
        tick = member.wheel_tick
        if tick:
            member.wheel_tick = 0
            self._buckets[tick].discard(member)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_at(self._ticks[0] * self._tick, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = math.floor(self.time() / self._tick)
        left = self._max_expired
        try:
            while left and self._ticks and self._ticks[0] <= now:
                bucket = self._buckets[self._ticks[0]]
                # A member that is told may discard others, or set them for a later tick.
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

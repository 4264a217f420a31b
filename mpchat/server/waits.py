"""What a client is waited for while its socket is no WebSocket, and for how long.

Rules. One wait at a time; none while a handler has the request. Beside the wait's own time, whatever is
waited for: a client that has answers to read and reads nothing for ``write-timeout`` is cut off. The time
for its next request, and for its end of file, begins when it has read them all. A socket beyond a limit
gets one second in all, whatever it does.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable

from mpchat.server.options import ServerOptions
from mpchat.websocket.shared import Shared
from mpchat.websocket.uptake import LOOKS, Uptake, unread

_REFUSED_SECONDS = 1.0
_LINGER = 2.0
"""Seconds that a client has to end its side when it has read the last response."""


class Wait(enum.Enum):
    """What a client is waited for."""

    FIRST = enum.auto()
    """The first byte of its first request"""
    HEAD = enum.auto()
    """The end of a head, from its first byte on: those that follow do not stretch the time"""
    BODY = enum.auto()
    """More of a body"""
    READER = enum.auto()
    """That it reads: until then nothing more is read from it"""
    NEXT = enum.auto()
    """Another request"""
    END = enum.auto()
    """Its end of file, behind the last response"""


_AFTER_ANSWERS = frozenset((Wait.NEXT, Wait.END))


class Waits:
    """The waits for one client.

    Attributes:
        kind: What it is waited for; None while nothing is.
    """

    __slots__ = (
        "_begun_at",
        "_due",
        "_is_refused",
        "_loop",
        "_options",
        "_seconds",
        "_shared",
        "_too_late",
        "_transport",
        "_uptake",
        "kind",
        "wheel_tick",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        shared: Shared,
        options: ServerOptions,
        too_late: Callable[[Wait], None],
        *,
        admitted: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._shared = shared
        self._too_late = too_late
        self._options = options
        self._uptake: Uptake | None = None
        self._begun_at = self._due = self._seconds = 0.0
        self.kind: Wait | None = None
        self.wheel_tick = 0
        self._is_refused = not admitted
        if not admitted:
            shared.wheel.set(self, _REFUSED_SECONDS)

    def begin(self, kind: Wait, seconds: float | None = None) -> None:
        """Wait for this from now on, for its usual time if none is given."""
        if self._is_refused:
            return
        self.kind = kind
        self._seconds = _seconds_of(kind, self._options) if seconds is None else seconds
        self._begun_at = self._loop.time()
        self._due = self._begun_at + self._seconds
        self._uptake = None
        self._look_in(self._seconds)

    def go_on(self) -> None:
        """A part of it has come: its time begins anew."""
        self._due = self._loop.time() + self._seconds

    def end(self) -> None:
        """Wait for nothing."""
        if not self._is_refused:
            self.kind = None
            self._shared.wheel.discard(self)

    def forget(self) -> None:
        """The socket is gone, or a WebSocket: let go of what holds this."""
        self._shared.wheel.discard(self)
        del self._too_late

    def expire(self) -> None:
        """What the wheel calls: look whether the client reads, and whether the time is over."""
        kind, now = self.kind, self._loop.time()
        if kind is None:
            # Beyond a limit: everything else ends with its wait.
            self._transport.abort()
            return
        if not unread(self._transport):
            self._uptake = None
        elif not self._is_reading(now):
            self._shared.count_limit("write-timeout")
            self._transport.abort()
            return
        elif kind in _AFTER_ANSWERS:
            self._due = now + self._seconds
        if now < self._due:
            self._look_in(self._due - now)
        else:
            self.kind = None
            self._too_late(kind)

    def _is_reading(self, now: float) -> bool:
        timeout = self._options.write_timeout
        if not timeout:
            return True
        if self._uptake is None:
            # It was not looked before: all that is known is what it has left to read now.
            self._uptake = Uptake(self._transport, self._begun_at)
        return self._uptake.wait(now, timeout) > 0

    def _look_in(self, seconds: float) -> None:
        if self._options.write_timeout:
            seconds = min(seconds, self._options.write_timeout / LOOKS)
        if seconds < math.inf:
            self._shared.wheel.set(self, seconds)


def _seconds_of(kind: Wait, options: ServerOptions) -> float:
    match kind:
        case Wait.FIRST | Wait.HEAD:
            return options.handshake_timeout
        case Wait.BODY:
            return options.body_timeout
        case Wait.READER:
            return math.inf
        case Wait.NEXT:
            return options.listener.connection.keepalive_timeout
        case Wait.END:
            return _LINGER

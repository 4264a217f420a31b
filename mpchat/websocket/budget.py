"""How much work one turn of the worker's event loop does for all of its connections together.

Rules. Work is counted, not measured, so that tests can count it as well: bytes, and a constant for each
read, frame, request and handshake. A unit is a nanosecond of the machine that the constants were measured
on. The clock is checked each time an eighth of the budget has been used, so that a slower machine, or a
handler that takes its time, also ends the turn. No class here knows an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mpchat.websocket.thresholds import Thresholds

READ = 5_000
"""A read with a small message: receive, wake the handler, write."""
FRAME = 5_000
"""A frame, and what its handler answers at once. Its bytes are one unit each."""
INFLATED_BYTE = 4
"""Inflated, decoded as text, and deflated again by a handler that echoes it."""
INFLATED_FRAME = 20_000
"""Making and ending the streams of a compressed message."""
REQUEST = 100_000
"""A request, its answer and its log line."""
CHUNKS = 200_000
"""As many chunks of a request's body as are decoded at a time, each of a byte."""
DELIVERY = 4_000
"""Writing to one of many that are sent the same. Its bytes are one unit each."""
HANDSHAKE = 250_000
ACCEPT = 100_000
TLS_READ = 4_000
"""Decrypting a read. Its bytes are one unit each."""
TLS_WRITE = 4_000
"""Encrypting what is written. Its bytes are one unit each."""
TLS_CONTROL = 40_000
"""A record without data, such as a key update that is answered."""
TLS_STEP = 500_000
"""A step of a TLS handshake."""
CLOSE = 100_000
"""The end of a connection, its handler's and its log line."""


class Budget:
    """The rest of a turn.

    Attributes:
        left: Work that may still be done. At 0 or below the turn is over.
        mark: Value of ``left`` at which the clock is due: code that lowers ``left`` below it calls
            ``look``. No method does both, since every message would pay for the call.
    """

    __slots__ = (
        "_before",
        "_clock",
        "_look_at",
        "_look_every",
        "_since",
        "left",
        "mark",
        "thresholds",
    )

    def __init__(self, thresholds: Thresholds, clock: Callable[[], float] = time.monotonic) -> None:
        self.thresholds = thresholds
        self._clock = clock
        self._look_every = thresholds.turn_work // thresholds.clock_looks
        # Work of the turns before this one.
        self._before = 0
        self.left = thresholds.turn_work
        self.renew()

    @property
    def done(self) -> int:
        """Work so far, in all turns; what the clock has cut off counts as done."""
        return self._before + self.thresholds.turn_work - self.left

    def renew(self) -> None:
        """A new turn begins."""
        self._before = self.done
        self.left = self.thresholds.turn_work
        self._since: float | None = None
        self.mark = self._look_at = self.left - self._look_every

    def charge(self, work: int) -> None:
        """Count work."""
        self.left -= work
        if self.left < self.mark:
            self.look()

    def look(self) -> None:
        """Check the clock after a good part of the work."""
        if self.left > 0:
            now = self._clock()
            if self._since is None:
                self._since = now
            elif now - self._since >= self.thresholds.turn_seconds:
                self.left = 0
        self.mark = self._look_at = self.left - self._look_every

"""How much work one turn of the worker's event loop does for all of its connections together.

Rules. Work is counted, not measured, so that tests count it, too: bytes, and a constant for each read,
frame, request and handshake. A unit is a nanosecond of the machine that the constants were measured on. A
clock is looked at each time an eighth of the budget has been used, so that a slower machine, or a handler
that takes its time, ends the turn as well. No class here knows an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORK_OF_A_TURN = 5_000_000
SECONDS_OF_A_TURN = 0.005

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
HANDSHAKE = 250_000
ACCEPT = 100_000
CLOSE = 100_000
"""The end of a connection, its handler's and its log line."""

_LOOK_EVERY = WORK_OF_A_TURN // 8


class Budget:
    """What is left of a turn.

    Attributes:
        left: Work that may still be done; the turn is over for who comes later if it is not above 0.
        mark: Where the clock is looked at next: whoever lowers ``left`` below it calls ``look``. These
            are attributes, and no method does both, since every message would pay for the call.
    """

    __slots__ = ("_clock", "_look_at", "_since", "left", "mark")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """A new turn begins."""
        self.left = WORK_OF_A_TURN
        self._since: float | None = None
        self.mark = self._look_at = WORK_OF_A_TURN - _LOOK_EVERY

    def charge(self, work: int) -> None:
        """Count work."""
        self.left -= work
        if self.left < self.mark:
            self.look()

    def look(self) -> None:
        """Look at the clock: much has been done since the last look."""
        if self.left > 0:
            now = self._clock()
            if self._since is None:
                self._since = now
            elif now - self._since >= SECONDS_OF_A_TURN:
                self.left = 0
        self.mark = self._look_at = self.left - _LOOK_EVERY

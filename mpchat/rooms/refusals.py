"""How many refused messages a client may go on sending: pure.

Rules. A refusal costs the client its message, and going on costs it the connection: twice the rate that
is allowed, for a second. A client that waits a second after a refusal is never ended.
"""

from __future__ import annotations

from collections.abc import Callable

_LEAST = 10
"""So many may always be refused: a low rate must not end a client that was quick once."""


class Refusals:
    """The refused messages of one connection."""

    __slots__ = ("_clock", "_count", "_most", "_since")

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._most = max(rate, _LEAST)
        self._clock = clock
        self._count = 0
        self._since = 0.0

    def are_too_many(self) -> bool:
        """Count a refusal; return whether there were too many within a second."""
        now = self._clock()
        if not self._count or now - self._since >= 1.0:
            self._count, self._since = 0, now
        self._count += 1
        return self._count > self._most

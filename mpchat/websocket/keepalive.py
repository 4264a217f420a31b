"""Keepalive: ping a client now and then, and end its connection when it does not answer. Pure.

Rules. Any received data counts as an answer. A dead peer is closed within interval + timeout. Our own
slowness is no fault of the client: its answer may lie unread when a late timer finds none, so a client is
judged only after the loop has read once more, and not while we ourselves have paused reading. A client
that still takes what was sent before the ping is not late either. A dynamic value (MPCHAT_KEEPALIVE) goes
before the handler's option; 0 turns pings off.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import KEEPALIVE
from mpchat.websocket.options import WebsocketOptions
from mpchat.websocket.thresholds import Thresholds

PING_FRAME = b"\x89\x00"


class Keepalive:
    """The times of a worker's connections, as options and dynamic config say at the moment."""

    def __init__(self, snapshot: Callable[[], Snapshot], thresholds: Thresholds) -> None:
        self._snapshot = snapshot
        self._tick = thresholds.tick_seconds

    def interval(self, options: WebsocketOptions) -> float:
        """Return the seconds from an answer to the next ping; 0 for no pings."""
        dynamic: int | None = self._snapshot()[KEEPALIVE].interval_ms
        seconds: float = options.ping_interval if dynamic is None else dynamic / 1000
        # The wheel rounds up three times until a dead peer is closed: that must fit in.
        return max(seconds - 3 * self._tick, seconds / 2)

    def timeout(self, options: WebsocketOptions) -> float:
        """Return the seconds that a client has for its answer."""
        dynamic: int | None = self._snapshot()[KEEPALIVE].timeout_ms
        seconds: float = options.ping_timeout if dynamic is None else dynamic / 1000
        return seconds


class Opinion(Enum):
    """What is thought of a client that has not answered in time."""

    PATIENCE = auto()
    """It is not late: another timeout begins."""
    SUSPICION = auto()
    """Its answer may be there already: the loop reads once more."""
    DEAD = auto()


class AwaitedPong:
    """A ping that was sent and not answered."""

    __slots__ = ("_is_suspected", "_unread")

    def __init__(self, unread: int) -> None:
        self._unread = unread
        self._is_suspected = False

    def judge(self, unread: int, *, is_reading: bool) -> Opinion:
        """Judge the client at the end of its time; ``unread`` is how much it has not acknowledged."""
        if not is_reading:
            return Opinion.PATIENCE
        if 0 < unread < self._unread:
            # It reads what was sent before the ping.
            self._unread = unread
            return Opinion.PATIENCE
        if not self._is_suspected:
            self._is_suspected = True
            return Opinion.SUSPICION
        return Opinion.DEAD

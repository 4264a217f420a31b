"""What all connections of a worker share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.keepalive import Keepalive
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel


@dataclass(frozen=True)
class Shared:
    """One for each worker."""

    loop: asyncio.AbstractEventLoop
    thresholds: Thresholds
    counters: Counters
    turn: Turn
    wheel: Wheel
    keepalive: Keepalive
    count_limit: Callable[[str], None]
    """Counts what a limit has ended, by one of LIMITS"""
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970"""

    def __post_init__(self) -> None:
        """Let the turn have what the hot path needs of this."""
        self.turn.time_answers(self.clock, self.counters.histograms.handling)

    @cached_property
    def scratch(self) -> memoryview:
        """Where large frames begin that are read into a buffer of ours, of whichever connection."""
        return memoryview(bytearray(self.thresholds.bulk_read))

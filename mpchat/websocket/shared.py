"""What all connections of a worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.bulk import SCRATCH_BYTES
from mpchat.websocket.keepalive import Keepalive
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel


@dataclass(frozen=True)
class Shared:
    """One for each worker."""

    counters: Counters
    turn: Turn
    wheel: Wheel
    keepalive: Keepalive
    count_limit: Callable[[str], None]
    """Counts what a limit has ended, by one of LIMITS"""

    @cached_property
    def scratch(self) -> memoryview:
        """Where large frames begin that are read into a buffer of ours, of whichever connection."""
        return memoryview(bytearray(SCRATCH_BYTES))

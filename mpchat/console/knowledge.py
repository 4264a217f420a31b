"""What the console knows of the service, for its handlers and its page.

Rules. The numbers come from the scoreboard and /proc, so that they are right when every process but this
one is stuck; events and the dynamic config come from the supervisor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mpchat.console.authors import AuthorsMetrics
from mpchat.console.collector import Collector
from mpchat.dynamic_config.in_force import ConfigInForce
from mpchat.dynamic_config.keys import Key
from mpchat.ipc.messages import Event
from mpchat.ipc.orders import OrderGiver
from mpchat.logs.setup import DirectLogs
from mpchat.metrics.families import Family
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.status import Status

_EVENTS = 200


class Events:
    """The last events, oldest first."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._listeners: list[Callable[[Event], None]] = []

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def add(self, event: Event) -> None:
        """Keep an event, and tell those who listen."""
        self._events.append(event)
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have each later event passed to ``listener``."""
        self._listeners.append(listener)


@dataclass
class Knowledge:
    """What the console knows of the service.

    Attributes:
        config: None until the supervisor has told it, right after the console's start.
        keys: The dynamic variables that the service declares.
        collector, authors: Read the metrics, the service's and its authors'.
    """

    status: Status
    board: Scoreboard
    orders: OrderGiver
    logs: DirectLogs
    pool: str
    keys: tuple[Key[Any], ...] = ()
    events: Events = field(default_factory=Events)
    config: ConfigInForce | None = None
    collector: Collector = field(init=False)
    authors: AuthorsMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.collector = Collector(self.board, self.pool, lambda: self.status.certificates)
        self.authors = AuthorsMetrics(self.board)

    async def families(self) -> list[Family]:
        """Return all metrics as they are now, the service's and its authors'."""
        # In a thread, since it reads files of every process.
        found = await asyncio.to_thread(self.collector.collect)
        # The supervisor replaces what the authors' are read from, so that is done here.
        return [*found, *self.authors.collect()]

"""What a worker's process does for its components, without a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from mpchat.ipc.messages import Report
from mpchat.ipc.pairing import BrokerPairs
from mpchat.metrics.area import Area
from mpchat.scoreboard.locks import Locks
from mpchat.scoreboard.scoreboard import Scoreboard


class FakeHost:
    """Keeps what it is asked for."""

    def __init__(
        self,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wall_clock, self.clock = wall_clock, clock
        self.reports: list[Report] = []
        self.pairs = BrokerPairs(lambda pair: None)
        self.slot = 0
        scoreboard = Scoreboard.create()
        self.locks = Locks(scoreboard.descriptor)
        self.used_tickets = scoreboard.used_tickets()
        self.metrics = no_metrics()

    async def reload(self) -> int:
        return 2

    def has_lost_stream(self) -> bool:
        return False

    async def report(self, report: Report) -> list[dict[str, Any]]:
        self.reports.append(report)
        return [{"user": report.user}]


def no_metrics() -> Area:
    """Return the values of a worker whose components declare no metrics."""
    return Area((), [], lambda *_given: None)


def under_construction(name: str, snapshot: Any = None, host: Any = None) -> Any:
    """Return what a component's constructor is given, for one that is made without the others."""
    return SimpleNamespace(
        name_under_construction=name,
        background_under_construction=None,
        snapshot=snapshot,
        host=host or SimpleNamespace(locks=None, wall_clock=time.time, metrics=no_metrics()),
    )

"""What a worker's process does for its components."""

from __future__ import annotations

import logging
import time
from typing import Any

from mpchat.ipc.messages import Report
from mpchat.ipc.orders import OrderGiver
from mpchat.ipc.pairing import BrokerPairs
from mpchat.ipc.reports import gather_reports
from mpchat.metrics.area import Area
from mpchat.scoreboard.locks import Locks
from mpchat.scoreboard.scoreboard import Scoreboard

log = logging.getLogger("mpchat.server")


class Host:
    """Gives orders to the supervisor, as components ask for them; see components.Host."""

    def __init__(
        self,
        orders: OrderGiver,
        scoreboard: Scoreboard,
        metrics: Area,
        slot: int,
        pairs: BrokerPairs,
    ) -> None:
        self.slot = slot
        self.pairs = pairs
        self.metrics = metrics
        self.locks = Locks(scoreboard.descriptor)
        self._orders = orders
        self._scoreboard = scoreboard
        self.wall_clock, self.clock = time.time, time.monotonic
        self.used_tickets = scoreboard.used_tickets()

    async def reload(self) -> int:
        return (await self._orders.give("reload")).generation

    def has_lost_stream(self) -> bool:
        return self._scoreboard.broker("stream_lost_at") != 0

    async def report(self, report: Report) -> list[dict[str, Any]]:
        asked = self._scoreboard.ready_pids()
        found = await gather_reports(self._orders, report)
        for pid in sorted(asked - found.reporters):
            log.warning("worker pid %d did not answer about its connections", pid)
        return found.rows

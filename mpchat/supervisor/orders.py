"""Orders that children pass on: from operators at the monitor, from tests-control in a worker.

Rules. A reload is answered when it is done everywhere, scaling when the workers are ready, other orders
when every process was told. Bulk
does not pass through here: workers write what was asked for into the socket that came with the order.
"""

from __future__ import annotations

import os

from mpchat.ipc import messages
from mpchat.supervisor.children import Child
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reload import Reload
from mpchat.supervisor.restart import Restart

_DEFAULT_LOGGER = "default"
"""The one whose level our own lines have, too"""


class Orders:
    """Carries out what is asked, and answers whoever asked."""

    def __init__(self, reload: Reload, log: Log, family: Family) -> None:
        self._reload = reload
        self.restart: Restart | None = None
        """Once the service is up"""
        self._log = log
        self._family = family
        self.levels: dict[str, str] = {}
        """Of loggers, for processes that are forked from now on"""

    def take(
        self,
        child: Child,
        order: messages.Order,
        descriptors: list[int],
        pool: Pool | None,
        now: float,
    ) -> None:
        """Begin to carry out an order; the descriptors are ours to close."""

        def answer(error: str) -> None:
            generation = self._reload.generation.number
            child.send(messages.OrderDone(order.number, generation, error))

        if order.verb == "reload":
            self._reload.ask(now, answer)
        elif order.verb == "connections":
            for worker in self._family.workers.values():
                if worker.ready:
                    worker.send(messages.Report(), tuple(descriptors))
            answer("")
        elif order.verb == "log-level":
            self._set_level(messages.LogLevel(**order.arguments))
            answer("")
        elif order.verb == "restart" and self.restart is not None:
            self.restart.ask(order.arguments["slot"], answer)
        elif order.verb == "scale" and pool is not None:
            pool.scale(order.arguments["count"], now, answer)
        else:
            answer(f"there is no order {order.verb}")
        for descriptor in descriptors:
            os.close(descriptor)

    def _set_level(self, level: messages.LogLevel) -> None:
        self.levels.pop(level.logger, None)
        if level.level is not None:
            self.levels[level.logger] = level.level
        if level.logger == _DEFAULT_LOGGER:
            self._log.order(level.number)
        for child in self._family:
            # Workers are forked from the template and would take its levels for their own.
            if not child.is_template:
                child.send(level)
        self._log.info(f"the level of {level.logger} is {level.level or 'its own again'}, by order")

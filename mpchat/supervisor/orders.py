"""Orders that children pass on: from operators at the monitor, from tests-control in a worker.

Rules. An order is answered when it is done everywhere. Bulk does not pass through here: workers write
what was asked for into the socket that came with the order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpchat.ipc import messages
from mpchat.supervisor.children import Child
from mpchat.supervisor.reload import Reload


class Orders:
    """Carries out what is asked, and answers whoever asked."""

    def __init__(self, reload: Reload, workers: Mapping[int, Child]) -> None:
        self._reload = reload
        self._workers = workers

    def take(self, child: Child, order: messages.Order, descriptors: list[int], now: float) -> None:
        """Begin to carry out an order; the descriptors are ours to close."""

        def answer(error: str) -> None:
            generation = self._reload.generation.number
            child.send(messages.OrderDone(order.number, generation, error))

        if order.verb == "reload":
            self._reload.ask(now, answer)
        elif order.verb == "connections":
            for worker in self._workers.values():
                if worker.ready:
                    worker.send(messages.Report(), tuple(descriptors))
            answer("")
        else:
            answer(f"there is no order {order.verb}")
        for descriptor in descriptors:
            os.close(descriptor)

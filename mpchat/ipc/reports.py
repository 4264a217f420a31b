"""Lists of connections from all workers, for the process that has asked the supervisor for them.

Rules. The lists do not pass through the supervisor: it gives each worker a copy of the other end of a
socket of ours, and the list is complete when the last copy is closed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from mpchat.ipc.messages import Report
from mpchat.ipc.orders import OrderGiver
from mpchat.linux import system

_SECONDS = 2.0
"""Seconds for the workers' reports; a worker that takes longer is busy or stuck, as status shows."""
_PACKET = 128 * 1024
"""Bytes for one packet of a report."""


@dataclass
class Reports:
    """What the workers have said.

    Attributes:
        connections: A row for each connection.
        reporters: The pids of the workers whose list is complete.
    """

    connections: list[dict[str, Any]] = field(default_factory=list)
    reporters: set[int] = field(default_factory=set)


async def gather_reports(orders: OrderGiver, report: Report, seconds: float = _SECONDS) -> Reports:
    """Ask all workers for a report, and return what they say within the time.

    Raises:
        ControlError: The order was refused.
        OSError: The system refuses the socket.
    """
    near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found = Reports()
    with near:
        system.setblocking(near, False)
        with far:
            await orders.give("connections", far.fileno(), arguments=asdict(report))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                # The loop ends when the last worker has closed its copy of the other end.
                while packet := await loop.sock_recv(near, _PACKET):
                    part = json.loads(packet)
                    found.connections += part["connections"]
                    if part["last"]:
                        found.reporters.add(part["pid"])
        except TimeoutError:
            pass  # The caller names the silent workers.
    return found

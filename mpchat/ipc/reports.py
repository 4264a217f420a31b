"""Lists that other processes send to the one that has asked the supervisor for them.

Rules. The lists do not pass through the supervisor: it gives each process that is to answer a copy of the
other end of a socket of ours, and the list is complete when the last copy is closed. Many processes write
to the same socket, so each packet belongs to one of them and is complete. It fits into any socket buffer,
and waiting for room does not block the loop. The last packet is marked, so that the list of a process
that stops in between is known to be incomplete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from mpchat.ipc.messages import Report, ReportRooms
from mpchat.ipc.orders import OrderGiver
from mpchat.linux import system

BY_MEMBERS = "members"
BY_MESSAGES = "messages_per_second"
"""The orders of ReportRooms: names of what each row of a room has."""
CONNECTION_NUMBERS = (
    "age_seconds",
    *("messages_received", "messages_sent", "bytes_received", "bytes_sent"),
    *("messages_waiting", "bytes_waiting"),
)
"""The orders of Report: names of numbers that each row of a connection has."""
MAX_ROOMS = 100_000
"""Rooms of one report."""
PACKET_BYTES = 32 * 1024
"""Bytes of a packet, which has at least one row however long."""
_SECONDS = 2.0
"""Seconds for the reports; a process that takes longer is busy or stuck, as status shows."""
_PACKET = 128 * 1024
"""Bytes to receive one packet of a report."""

log = logging.getLogger("mpchat.server")


@dataclass
class Reports:
    """What the processes have said.

    Attributes:
        rows: A row for each connection, or each room.
        reporters: The pids of the processes whose list is complete.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    reporters: set[int] = field(default_factory=set)


async def gather_reports(
    orders: OrderGiver, report: Report | ReportRooms, seconds: float = _SECONDS
) -> Reports:
    """Ask for a report of connections or rooms, and return what is said within the time.

    Raises:
        ControlError: The order was refused.
        OSError: The system refuses the socket.
    """
    verb = "connections" if isinstance(report, Report) else "rooms"
    near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found = Reports()
    with near:
        system.setblocking(near, False)
        with far:
            await orders.give(verb, far.fileno(), arguments=asdict(report))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                # The loop ends when the last process has closed its copy of the other end.
                while packet := await loop.sock_recv(near, _PACKET):
                    part = json.loads(packet)
                    found.rows += part["rows"]
                    if part["last"]:
                        found.reporters.add(part["pid"])
        except TimeoutError:
            pass  # The caller names the silent processes.
    return found


async def send_report(descriptor: int, rows: Iterable[dict[str, Any]]) -> None:
    """Send all rows and close the descriptor; a reader that has left is not an error."""
    loop = asyncio.get_running_loop()
    with system.socket(fileno=descriptor) as sock:
        system.setblocking(sock, False)
        try:
            for packet in packets(rows):
                await loop.sock_sendall(sock, packet)
        except ConnectionError:
            return
        except OSError as error:
            log.warning("a report could not be sent: %s", error)


def packets(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return the packets: JSON objects with ``pid``, ``rows`` and ``last``, true in the last."""
    gathered: list[str] = []
    size = 0
    for row in rows:
        text = json.dumps(row)
        if gathered and size + len(text) > PACKET_BYTES:
            yield _packet(gathered, last=False)
            gathered, size = [], 0
        gathered.append(text)
        size += len(text) + 2
    yield _packet(gathered, last=True)


def _packet(rows: list[str], *, last: bool) -> bytes:
    head = json.dumps({"pid": os.getpid(), "last": last})
    return f'{head[:-1]}, "rows": [{", ".join(rows)}]}}'.encode()

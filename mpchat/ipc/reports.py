"""Lists that other processes send to the one that has asked the supervisor for them.

Rules. The lists do not pass through the supervisor: it gives each process that is to answer a copy of the
other end of a socket of ours, and the list is complete when the last copy is closed. Many processes write
to the same socket, so each packet belongs to one of them and is complete. It fits into any socket buffer,
and waiting for room does not block the loop. A row that is longer than a packet travels in pieces. The
last packet is marked, so that the list of a process that stops in between is known to be incomplete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from mpchat.ipc.messages import Report, ReportRequests, ReportRooms
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
"""Bytes of rows in a packet."""
_SECONDS = 2.0
"""Seconds of silence after which nobody waits: the others are busy or stuck, as status shows."""
_PACKET = 128 * 1024
"""Bytes to receive one packet of a report."""
_VERBS = {Report: "connections", ReportRequests: "requests", ReportRooms: "rooms"}
Rows: TypeAlias = list[dict[str, Any]]

log = logging.getLogger("mpchat.server")


@dataclass
class Reports:
    """What the processes have said.

    Attributes:
        rows: A row for each connection, request or room.
        reporters: The pids of the processes whose list is complete.
    """

    rows: Rows = field(default_factory=list)
    reporters: set[int] = field(default_factory=set)


class Reading:
    """Reports on their way.

    Attributes:
        reporters: The pids of the processes whose list is complete.
    """

    def __init__(self, near: socket.socket, seconds: float) -> None:
        self.reporters: set[int] = set()
        self._near = near
        self._seconds = seconds
        self._pieces: dict[int, list[str]] = {}

    async def rows(self) -> AsyncIterator[Rows]:
        """Return the rows, packet by packet, until all are there or nobody has said anything for long."""
        loop = asyncio.get_running_loop()
        # The loop ends when the last process has closed its copy of the other end.
        while packet := await self._receive(loop):
            part = json.loads(packet)
            pid, rows = part["pid"], part.get("rows")
            if rows is None:
                self._pieces.setdefault(pid, []).append(part["piece"])
                continue
            if pid in self._pieces:
                rows = [json.loads("".join(self._pieces.pop(pid))), *rows]
            if part["last"]:
                self.reporters.add(pid)
            if rows:
                yield rows

    async def _receive(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await loop.sock_recv(self._near, _PACKET)
        except TimeoutError:
            return b""


@asynccontextmanager
async def asked(
    orders: OrderGiver, report: Report | ReportRequests | ReportRooms, seconds: float = _SECONDS
) -> AsyncIterator[Reading]:
    """Ask for a report, to be read within the block; ``seconds`` of silence end it.

    Raises:
        ControlError: The order was refused.
        OSError: The system refuses the socket.
    """
    near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        system.setblocking(near, False)
        with far:
            await orders.give(_VERBS[type(report)], far.fileno(), arguments=asdict(report))
        yield Reading(near, seconds)


async def gather_reports(
    orders: OrderGiver, report: Report | ReportRequests | ReportRooms, seconds: float = _SECONDS
) -> Reports:
    """Ask for a report, and return what is said; see ``asked``.

    The caller names the processes that are not among the reporters.
    """
    found = Reports()
    async with asked(orders, report, seconds) as reading:
        async for rows in reading.rows():
            found.rows += rows
        found.reporters = reading.reporters
    return found


async def send_report(descriptor: int, rows: Iterable[dict[str, Any]]) -> None:
    """Send all rows and close the descriptor; a reader that has left is not an error.

    Rows may be made one by one: between two packets the loop turns.
    """
    loop = asyncio.get_running_loop()
    with system.socket(fileno=descriptor) as sock:
        system.setblocking(sock, False)
        try:
            for packet in packets(rows):
                await loop.sock_sendall(sock, packet)
                await asyncio.sleep(0)
        except ConnectionError:
            return
        except OSError as error:
            log.warning("a report could not be sent: %s", error)


def packets(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return the packets: JSON objects with ``pid``, ``rows`` and ``last``, true in the last.

    A packet with a ``piece`` has a part of a row's text instead; the row comes before those of the next
    packet with ``rows``.
    """
    gathered: list[str] = []
    size = 0
    for row in rows:
        text = json.dumps(row)
        if gathered and size + len(text) > PACKET_BYTES:
            yield _packet(gathered, last=False)
            gathered, size = [], 0
        if len(text) > PACKET_BYTES:
            for begin in range(0, len(text), PACKET_BYTES):
                piece = text[begin : begin + PACKET_BYTES]
                yield json.dumps({"pid": os.getpid(), "piece": piece}).encode()
            yield _packet([], last=False)
            continue
        gathered.append(text)
        size += len(text) + 2
    yield _packet(gathered, last=True)


def _packet(rows: list[str], *, last: bool) -> bytes:
    head = json.dumps({"pid": os.getpid(), "last": last})
    return f'{head[:-1]}, "rows": [{", ".join(rows)}]}}'.encode()

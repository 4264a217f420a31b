"""A worker's list of connections, sent to the monitor past the supervisor.

Rules. Many workers write to the same socket, so each packet belongs to one worker and is complete. It
fits into any socket buffer, and waiting for room does not block the loop. The last packet is marked, so
that the list of a worker that stops in between is known to be incomplete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mpchat.websocket.protocol import WebSocketProtocol

PACKET_BYTES = 32 * 1024
"""Bytes of a packet, which has at least one connection however long."""
_CLOSED_PER_TURN = 16

log = logging.getLogger("mpchat.server")


async def report_connections(descriptor: int, connections: Iterable[dict[str, Any]]) -> None:
    """Send all connections and close the descriptor; a reader that has left is not an error."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(False)
        try:
            for packet in packets(connections):
                await loop.sock_sendall(sock, packet)
        except ConnectionError:
            return
        except OSError as error:
            log.warning("the list of connections could not be sent: %s", error)


async def close_connections(
    connections: Sequence[WebSocketProtocol], code: int, reason: str
) -> None:
    """Close these connections, a few in each turn of the loop."""
    for number, protocol in enumerate(connections, 1):
        protocol.close(code, reason)
        if number % _CLOSED_PER_TURN == 0:
            await asyncio.sleep(0)


def packets(connections: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return the packets: JSON objects with ``pid``, ``connections`` and ``last``, true in the last."""
    rows: list[str] = []
    size = 0
    for connection in connections:
        row = json.dumps(connection)
        if rows and size + len(row) > PACKET_BYTES:
            yield _packet(rows, last=False)
            rows, size = [], 0
        rows.append(row)
        size += len(row) + 2
    yield _packet(rows, last=True)


def _packet(rows: list[str], *, last: bool) -> bytes:
    head = json.dumps({"pid": os.getpid(), "last": last})
    return f'{head[:-1]}, "connections": [{", ".join(rows)}]}}'.encode()

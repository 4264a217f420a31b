"""A worker's list of connections, sent to the monitor past the supervisor.

Rules. Many workers write to the same socket: a packet is one worker's, whole, and never waits in the
loop's way. Closing our end says that there is nothing more.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Iterable
from typing import Any

_PER_PACKET = 100
"""Connections in one packet: well below what a socket takes at once."""


async def report_connections(
    descriptor: int, worker: str, connections: Iterable[dict[str, Any]]
) -> None:
    """Send what is there in packets, and close the descriptor; a reader that has left is no error."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(False)
        rows = iter(connections)
        batch = list(itertools.islice(rows, _PER_PACKET))
        while True:
            packet = {"worker": worker, "pid": os.getpid(), "connections": batch}
            try:
                await loop.sock_sendall(sock, json.dumps(packet).encode())
            except ConnectionError:
                return
            batch = list(itertools.islice(rows, _PER_PACKET))
            if not batch:
                return

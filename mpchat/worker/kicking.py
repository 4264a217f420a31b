"""Connections closed by an operator's order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mpchat.websocket.protocol import WebSocketProtocol

_CLOSED_PER_TURN = 16


async def close_connections(
    connections: Sequence[WebSocketProtocol], code: int, reason: str
) -> None:
    """Close these connections, a few in each turn of the loop."""
    for number, protocol in enumerate(connections, 1):
        protocol.close(code, reason)
        if number % _CLOSED_PER_TURN == 0:
            await asyncio.sleep(0)

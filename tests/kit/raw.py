"""A client of bare bytes, for what a well-behaved one would not do; and handlers for it."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

from websockets.exceptions import InvalidStatus

HANDLERS = Path(__file__).parent.parent / "fixtures" / "handlers" / "handlers.py"
_KEY = base64.b64encode(b"0123456789abcdef").decode()


def handshake(path: str, *lines: str) -> bytes:
    """Return a handshake that every WebSocket server accepts, with more header lines."""
    head = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    head += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


async def raw_connect(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and read the response head; what follows are frames."""
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(handshake(path))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def message_of(error: InvalidStatus) -> str:
    """Return why a handshake was refused."""
    return str(json.loads(error.response.body or b"")["message"])

"""A plain port whose connections go on in TLS: for clients that do not speak it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import AbstractContextManager

from tests.kit.threads import in_a_thread

_PIECE = 1 << 18


def relaying(port: int, context: ssl.SSLContext) -> AbstractContextManager[int]:
    """Relay in a thread to ``localhost:port``; yields the plain port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        await asyncio.gather(_copy(reader, secure[1]), _copy(secure[0], writer))

    return in_a_thread(lambda: asyncio.start_server(relay, "127.0.0.1", 0))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its end, and then end the other side: asyncio's TLS has no half ends."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()

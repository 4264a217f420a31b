"""A plain port whose connections go on in TLS: for clients that do not speak it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 1 << 18


@contextmanager
def relaying(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Relay in a thread to ``localhost:port``; yields the plain port."""
    loop = asyncio.new_event_loop()
    stopping, ready = asyncio.Event(), threading.Event()
    ports: list[int] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        await asyncio.gather(_copy(reader, secure[1]), _copy(secure[0], writer))

    async def main() -> None:
        async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stopping.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its end, and then end the other side: asyncio's TLS has no half ends."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()

"""A WebSocket server of a test's own, for load clients in other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol


@contextmanager
def serving(
    handle: Callable[[ServerConnection], Awaitable[None]], subprotocols: Sequence[str] = ()
) -> Iterator[int]:
    """Serve in a thread; yields the port."""
    loop = asyncio.new_event_loop()
    stopping, ready = asyncio.Event(), threading.Event()
    ports: list[int] = []
    speaks = [Subprotocol(name) for name in subprotocols] or None

    async def main() -> None:
        async with serve(handle, "127.0.0.1", 0, compression=None, subprotocols=speaks) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
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

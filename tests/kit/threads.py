"""A server of a test's own, in a thread, for clients that block or are other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from websockets.asyncio.server import Server


@contextmanager
def in_a_thread(
    start: Callable[[], Awaitable[asyncio.Server | Server]],
) -> Iterator[int]:
    """Run what ``start`` starts; yields the port."""
    loop = asyncio.new_event_loop()
    stopping, ready = asyncio.Event(), threading.Event()
    ports: list[int] = []

    async def main() -> None:
        async with await start() as server:
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

"""A WebSocket server of a test's own, for load clients in other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from tests.kit.threads import in_a_thread


def serving(
    handle: Callable[[ServerConnection], Awaitable[None]], subprotocols: Sequence[str] = ()
) -> AbstractContextManager[int]:
    """Serve in a thread; yields the port."""
    speaks = [Subprotocol(name) for name in subprotocols] or None

    async def start() -> Server:
        return await serve(handle, "127.0.0.1", 0, compression=None, subprotocols=speaks)

    return in_a_thread(start)

"""A worker and its broker in one event loop, which can be killed, and handlers made from functions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from mpchat.broker.broker import Broker
from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.rooms.position import Position
from mpchat.rooms.rooms import Rooms
from mpchat.rooms.side import Side
from mpchat.testing import Worker, serve
from mpchat.testing.rooms import RoomsInMemory
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase

Handle = Callable[[Rooms, WebSocketConnection, Context], Awaitable[None]]


async def talk(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
    """Publish what the client sends in the room of its path."""
    async with rooms.join(context.path_params["room"], chat) as room:
        async for message in chat:
            await room.publish(message)


def publish(
    side: Side, payload: bytes = b"x", *, room: bytes = b"a", as_member: bool = False
) -> asyncio.Future[Position]:
    """Publish a text of nobody, without an id."""
    answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
    side.publish(room, 0, payload, b"", "", None, answer, as_member=as_member)
    return answer


class Service:
    """A worker with rooms and one handler, at ``/{room}``."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.rooms = worker.find(Rooms)
        self.client = worker.websocket_client

    @property
    def _in_memory(self) -> RoomsInMemory:
        found = self.worker._rooms
        assert found is not None
        return found

    @property
    def broker(self) -> Broker:
        """The core of the broker of the moment."""
        found = self._in_memory._broker
        assert found is not None
        return found.broker

    def kill_broker(self) -> None:
        """End the broker as if its process were killed; its history stays."""
        self._in_memory.kill()

    def start_broker(self) -> None:
        """Give the worker a pair to a new broker."""
        self._in_memory.connect(self.worker._host.pairs)


@contextlib.asynccontextmanager
async def served(handle: Handle = talk, **options: Any) -> AsyncIterator[Service]:
    """Serve with these options of rooms; underscores stand for dashes."""

    class Handler(WebsocketHandlerBase):
        name = "handler"

        def __init__(self, options: Any, components: Components) -> None:
            super().__init__(options, components)
            self.rooms = components.find(Rooms)

        async def handle(self, chat: WebSocketConnection, context: Context) -> None:
            await handle(self.rooms, chat, context)

    given = {name.replace("_", "-"): value for name, value in options.items()}
    async with serve({Rooms: given, Handler: {"path": "/{room}"}}) as worker:
        yield Service(worker)


async def until_members(service: Service, count: int, name: str = "a") -> None:
    """Wait until the room has so many members."""
    async with asyncio.timeout(10):
        # The broker says how many there are only when it is asked.
        while (await service.rooms.members(name)).number != count:  # noqa: ASYNC110 - it has to be asked
            await asyncio.sleep(0)

"""A connection that has its worker be in many rooms: "join 1000"; "say" publishes to each of them, and
"live" asks about each.

Rules. A question about a room is answered behind what the broker has been told of that room: so the
answer to "live" comes when a new broker has all of them. What is not answered in time is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from mpchat import (
    Context,
    Room,
    Rooms,
    Unavailable,
    WebSocketConnection,
    WebsocketHandlerBase,
    default_component_list,
)

AT_ONCE = 500
"""Joins on their way: more would only wait for each other"""


class Many(WebsocketHandlerBase):
    name = "many-handler"

    def __init__(self, options: Any, components: Any) -> None:
        super().__init__(options, components)
        self.rooms = components.find(Rooms)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        names: list[str] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            async for order in chat:
                word, _, number = str(order).partition(" ")
                if word == "say":
                    places = asyncio.Semaphore(AT_ONCE)
                    await asyncio.gather(*(self._say(name, places) for name in names))
                elif word == "live":
                    await asyncio.gather(*map(self._ask, names))
                else:
                    names = [f"room-{index}" for index in range(int(number))]
                    places = asyncio.Semaphore(AT_ONCE)
                    joined = asyncio.Semaphore(0)
                    tasks = [
                        asyncio.create_task(self._stay(name, places, joined)) for name in names
                    ]
                    for _ in names:
                        await joined.acquire()
                await chat.send(order)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stay(self, name: str, places: asyncio.Semaphore, joined: asyncio.Semaphore) -> None:
        while True:
            await places.acquire()
            with suppress(Unavailable):
                async with self._entered(name, places) as room:
                    joined.release()
                    async for _ in room:
                        pass

    @asynccontextmanager
    async def _entered(self, name: str, places: asyncio.Semaphore) -> AsyncIterator[Room]:
        async with AsyncExitStack() as stack:
            try:
                room = await stack.enter_async_context(self.rooms.join(name, None))
            finally:
                places.release()
            yield room

    async def _say(self, name: str, places: asyncio.Semaphore) -> None:
        async with places:
            await self.rooms.publish(name, "hello")

    async def _ask(self, name: str) -> None:
        while True:
            with suppress(Unavailable):
                await self.rooms.history(name, limit=0)
                return


components = default_component_list().append(Many)

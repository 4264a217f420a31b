"""Connections that join a room when their second message comes: what a membership takes by itself."""

from __future__ import annotations

import itertools
from typing import Any

from mpchat import (
    Context,
    Rooms,
    WebSocketConnection,
    WebsocketHandlerBase,
    default_component_list,
)


class Joining(WebsocketHandlerBase):
    name = "joining-handler"

    def __init__(self, options: Any, components: Any) -> None:
        super().__init__(options, components)
        self.rooms = components.find(Rooms)
        self.numbers = itertools.count()

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await chat.send(await chat.recv())
        message = await chat.recv()
        own = context.path_params["where"] == "each"
        async with self.rooms.join(f"room-{next(self.numbers)}" if own else "room", chat):
            await chat.send(message)
            del message  # A handler's variables are no part of a membership.
            await chat.recv()


components = default_component_list().append(Joining)

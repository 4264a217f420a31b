"""An author's handler: not mpchat's own echo, and not part of its package."""

from __future__ import annotations

from mpchat import Context, WebSocketConnection, WebsocketHandlerBase, minimal_server_component_list


class Upper(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        while True:
            await chat.send((await chat.recv()).upper())


components = minimal_server_component_list().append(Upper)

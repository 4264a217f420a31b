"""The echo: userver's WebSocket sample."""

from __future__ import annotations

from mpchat.components.context import Context
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase


class Chat(WebsocketHandlerBase):
    """Sends every message back as it came, until the connection ends."""

    name = "websocket-handler"
    section_optional = True

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        # Not a loop over `chat`: while the client is idle, its variable would keep the last message.
        while True:
            await chat.send(await chat.recv())

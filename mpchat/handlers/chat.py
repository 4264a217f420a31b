"""The echo: userver's WebSocket sample."""

from __future__ import annotations

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.context import Context
from mpchat.websocket.handler import WebsocketHandlerBase


class Chat(WebsocketHandlerBase):
    """Sends every message back as it came; ends when the connection does."""

    name = "websocket-handler"
    section_optional = True

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        # Not a loop over `chat`: its variable would hold the last message while the client is idle.
        while True:
            await chat.send(await chat.recv())

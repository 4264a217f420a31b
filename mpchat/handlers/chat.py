"""The echo: userver's WebSocket sample."""

from __future__ import annotations

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.context import Context
from mpchat.websocket.handler import WebsocketHandlerBase


class Chat(WebsocketHandlerBase):
    """Sends every message back as it came."""

    name = "websocket-handler"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            await chat.send(message)

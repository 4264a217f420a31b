"""The handler of ``/chat``."""

from __future__ import annotations

from mpchat import Context, Key, WebSocketConnection, WebsocketHandlerBase

PREFIX = Key("CHAT_PREFIX", str, default="you said: ")
"""What an answer begins with; it may change while the service runs."""


class Chat(WebsocketHandlerBase):
    """Answers each text of a client; bytes end the connection."""

    name = "handler-chat"
    dynamic_config_keys = (PREFIX,)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            if isinstance(message, bytes):
                await chat.close(1003, "expected text")
                return
            await chat.send(context.config[PREFIX] + message)

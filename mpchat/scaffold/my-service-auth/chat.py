"""The handler of ``/chat``, for users who have logged in and programs that have a token."""

from __future__ import annotations

from mpchat import Context, WebSocketConnection, WebsocketHandlerBase


class Chat(WebsocketHandlerBase):
    """Answers each text of a user; bytes end the connection."""

    name = "handler-chat"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            if isinstance(message, bytes):
                await chat.close(1003, "expected text")
                return
            await chat.send(f"{context.user}: {message}")

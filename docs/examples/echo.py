"""The echo: every message goes back as it came."""

from __future__ import annotations

from mpchat import (
    Context,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
)


class Echo(WebsocketHandlerBase):
    """Sends every message back: text as text, binary as binary."""

    name = "handler-echo"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            await chat.send(message)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Echo))

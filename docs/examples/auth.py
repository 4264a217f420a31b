"""A room for programs with a token and for pages with a ticket, that a member of the staff can clear."""

from __future__ import annotations

from typing import Any

from mpchat import (
    BearerAuth,
    Components,
    Connections,
    Context,
    CookieAuth,
    Request,
    Response,
    TicketAuth,
    TicketHandler,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
    response,
)


class Members(WebsocketHandlerBase):
    """A room; the option ``auth`` of its section says who is let in at all."""

    name = "handler-members"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.connections = components.find(Connections)

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        if context.path_params["room"] == "staff" and "staff" not in context.tags:
            return response(403, "for staff only\n")
        context.response_headers.append(("X-Room", context.path_params["room"]))
        return None

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await chat.send(f"welcome to {chat.path_params['room']}, {context.user}")
        async for message in chat:
            command, _, user = str(message).partition(" ")
            if command == "/kick" and "staff" in context.tags:
                # Wherever that user is connected, to whichever worker.
                count = await self.connections.close(user=user, reason="kicked")
                await chat.send(f"{count} closed")
            else:
                await chat.send(message)


if __name__ == "__main__":
    components = minimal_server_component_list().append(Members)
    for checker in (BearerAuth, CookieAuth, TicketAuth, TicketHandler):
        components.append(checker)
    daemon_main(components)

"""A handshake that checks a token, refuses strangers, and greets members in its response."""

from __future__ import annotations

import hmac

from mpchat import (
    Context,
    Request,
    Response,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
    response,
)


class Members(WebsocketHandlerBase):
    """A room for clients with the token."""

    name = "handler-members"

    class Options(WebsocketHandlerBase.Options):
        """The section ``handler-members``."""

        token: str

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(token.encode(), self.options.token.encode())
        if scheme.lower() != "bearer" or not known:
            refusal = response(401, "a token is needed\n")
            refusal.headers["WWW-Authenticate"] = 'Bearer realm="members"'
            return refusal
        context.data["member"] = request.headers.get("X-Member", "somebody")
        context.response_headers.append(("X-Room", context.path_params["room"]))
        return None

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await chat.send(f"welcome to {chat.path_params['room']}, {context.data['member']}")
        async for message in chat:
            await chat.send(message)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Members))

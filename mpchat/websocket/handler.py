"""The base class of WebSocket handlers (userver's WebsocketHandlerBase)."""

from __future__ import annotations

from typing import ClassVar

from websockets.http11 import Request, Response

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest
from mpchat.http.upgrade import UPGRADE_TO_WEBSOCKET
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.options import WebsocketOptions


class WebsocketHandlerBase(HandlerBase):
    """Base of WebSocket handlers: derive, set ``name``, write ``handle``.

    One object serves all connections of its worker at once, each in its own task. Keep the state of one
    connection in local variables or in ``context.data``.

    Attributes:
        subprotocol_optional: True: a client that offers no subprotocol is served without one, also if
            the option ``subprotocols`` lists some. One that offers others only still gets 400.
    """

    subprotocol_optional: ClassVar[bool] = False

    class Options(WebsocketOptions):
        """Options of a WebSocket handler; derive to add your own."""

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        """Serve one connection after its handshake; override always.

        Returning closes with 1000. A ConnectionClosed that leaves this method, also from inside a
        TaskGroup, is a normal end. Any other exception closes with 1011 and is logged once with its
        traceback. When the worker ends, ``context.stopping`` is set, then ``recv`` raises (code 1001, or
        1012 if another worker takes over), and at the drain's deadline the task is cancelled.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define handle")

    async def handle_non_websocket_request(
        self, request: HttpRequest, context: Context
    ) -> Response:
        """Override to answer plain HTTP requests on the handler's path; the default is 426.

        What holds for ``handle_request`` of HttpHandlerBase holds here.
        """
        text = "this path speaks WebSocket: ask for Upgrade: websocket"
        raise HttpError(426, text, UPGRADE_TO_WEBSOCKET)

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        """Override to check a request before it becomes a connection; ``auth`` has been dealt with.

        Return a response to refuse it, for example ``response(401, "who are you?")``, or None to accept
        it. ``context.response_headers`` go out with either answer, and ``handle`` gets ``context.data``.
        An HttpError refuses it, too. After ``handshake-timeout`` the client gets 504, after any other
        exception 500.
        """
        return None

"""The base class of WebSocket handlers (userver's WebsocketHandlerBase)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from websockets.http11 import Request, Response

from mpchat.components.handler_base import HandlerBase
from mpchat.config.types import MAX_INT, ByteSize, Duration
from mpchat.http.responses import response
from mpchat.http.upgrade import UPGRADE_TO_WEBSOCKET
from mpchat.websocket.negotiation import Deflate
from mpchat.websocket.origins import AllowedOrigin

if TYPE_CHECKING:
    from mpchat.components.context import Context
    from mpchat.websocket.connection import WebSocketConnection


class WebsocketHandlerBase(HandlerBase):
    """Base of WebSocket handlers: derive, set ``name``, write ``handle``.

    One object serves all connections of its worker at once, each in its own task. Keep the state of one
    connection in local variables or in ``context.data``.
    """

    class Options(HandlerBase.Options):
        """Options of a WebSocket handler; max-remote-payload and fragment-size are userver's."""

        max_remote_payload: Annotated[
            ByteSize,
            Field(
                alias="max-remote-payload",
                description="Largest message from a client, in bytes; a larger one ends with code 1009",
            ),
        ] = 65536
        max_messages_per_second: Annotated[
            int | None,
            Field(
                ge=1,
                le=MAX_INT,
                alias="max-messages-per-second",
                description="Messages of one client, with each fragment counted as one; more end with "
                "code 1008. After a silence, up to five seconds' worth may come at once. By default any "
                "number",
            ),
        ] = None
        max_bytes_per_second: Annotated[
            ByteSize | None,
            Field(
                ge=1,
                alias="max-bytes-per-second",
                description="The same for the bytes of messages; less than max-remote-payload would not "
                "allow the largest message. By default any number",
            ),
        ] = None
        max_control_frames_per_second: Annotated[
            int | None,
            Field(
                ge=1,
                le=MAX_INT,
                alias="max-control-frames-per-second",
                description="The same for pings, unsolicited pongs, and empty fragments within a "
                "message; null: any number",
            ),
        ] = 100
        message_timeout: Annotated[
            Duration,
            Field(
                alias="message-timeout",
                description="Time for a message, from the first read that ends inside it; then code "
                "1008. 0s: any",
            ),
        ] = 60.0
        idle_timeout: Annotated[
            Duration,
            Field(
                alias="idle-timeout",
                description="Time without a message in either direction, in practice up to a quarter "
                "longer; then code 1001. 0s: any",
            ),
        ] = 0.0
        fragment_size: Annotated[
            ByteSize,
            Field(
                alias="fragment-size",
                description="Messages to the client go out in fragments of this size, or larger ones "
                "if there would be more than 4,096; 0: never. For a client that does not read, the "
                "kernel holds one fragment, at least 256 KiB and at most 1 MiB",
            ),
        ] = 65536
        close_timeout: Annotated[
            Duration,
            Field(
                alias="close-timeout",
                description="Time for the other side's part of a close, from its last progress in "
                "reading the bytes sent before",
            ),
        ] = 5.0
        max_headers_size: Annotated[
            ByteSize,
            Field(
                description="Largest request line with headers of a handshake; then 431. A connection "
                "keeps them for `chat.request` as long as it lives. The listener's handler-defaults "
                "apply first"
            ),
        ] = 16384
        handshake_timeout: Annotated[
            Duration,
            Field(alias="handshake-timeout", description="Time for handle_handshake; then 504"),
        ] = 10.0
        write_timeout: Annotated[
            Duration,
            Field(
                alias="write-timeout",
                description="Time in which a client reads nothing while more than write-limit is unsent; "
                "then cut off. 0s: any",
            ),
        ] = 60.0
        write_limit: Annotated[
            ByteSize,
            Field(alias="write-limit", description="Unsent bytes beyond which send waits"),
        ] = 65536
        ping_interval: Annotated[
            Duration,
            Field(
                alias="ping-interval", description="Time from an answer to the next ping; 0s: none"
            ),
        ] = 20.0
        ping_timeout: Annotated[
            Duration,
            Field(alias="ping-timeout", description="Time for the answer; then close code 1011"),
        ] = 20.0
        subprotocols: Annotated[
            tuple[str, ...],
            Field(
                strict=False,
                description="Subprotocols, the preferred one first. If any are listed, a handshake that "
                "offers none of them gets 400",
            ),
        ] = ()
        allowed_origins: Annotated[
            Annotated[tuple[AllowedOrigin, ...], Field(strict=False)] | None,
            Field(
                alias="allowed-origins",
                description="Origins of the pages that may connect: `https://example.com`, with `:port` "
                "unless it is the scheme's own; `https://*.example.com` for every name below it. Apps, "
                "devices and extensions send other origins: `file://`, `app://x`, "
                "`chrome-extension://ID`, `'null'`. Others get 403, even unlisted pages of this host; a "
                "client without Origin is not a browser, and may connect. By default only a request with "
                "Cookie or Authorization is refused, unless its Origin has the host and port that it "
                "asks for",
            ),
        ] = None
        permessage_deflate: Annotated[
            Deflate,
            Field(
                alias="permessage-deflate",
                description="Compression: true, false, or the options below",
                # As a config has it, for the reference and the schema: null could mean either.
                json_schema_extra={"default": False},
            ),
        ] = None

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        """Serve one connection after its handshake; override always.

        Returning closes with 1000. A ConnectionClosed that leaves this method, also from inside a
        TaskGroup, is a normal end. Any other exception closes with 1011 and is logged once with its
        traceback. When the worker ends, ``context.stopping`` is set, then ``recv`` raises (code 1001, or
        1012 if another worker takes over), and at the drain's deadline the task is cancelled.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define handle")

    async def handle_non_websocket_request(self, request: Request, context: Context) -> Response:
        """Override to answer plain HTTP requests on the handler's path; the default is 426.

        The body is ``context.body``. If GET is allowed, HEAD requests arrive, too; the server leaves out
        the body of their answer. An exception is answered with 500 and logged with its traceback.
        """
        answer = response(426, "this path speaks WebSocket: ask for Upgrade: websocket\n")
        answer.headers.update(UPGRADE_TO_WEBSOCKET)
        return answer

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        """Override to check a request before it becomes a connection.

        Return a response to refuse it, for example ``response(401, "who are you?")``, or None to accept
        it. ``context.response_headers`` go out with either answer, and ``handle`` gets ``context.data``.
        After ``handshake-timeout`` the client gets 504, after an exception 500.
        """
        return None

"""The options of WebSocket handlers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mpchat.components.handler_base import HandlerBase
from mpchat.config.types import MAX_INT, ByteSize, Duration
from mpchat.websocket.negotiation import Deflate
from mpchat.websocket.origins import AllowedOrigin


class WebsocketOptions(HandlerBase.Options):
    """Options of a WebSocket handler; max-remote-payload and fragment-size are userver's."""

    max_remote_payload: Annotated[
        ByteSize,
        Field(
            alias="max-remote-payload",
            description="Largest message from a client, in bytes; a larger one ends with code 1009. "
            "The kernel holds as much of a client that is not read, at least 128 KiB and at most "
            "1 MiB, in up to twice the memory",
        ),
    ] = 65536
    max_connections_per_user: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_INT,
            description="Open connections of a user to this handler in the service; more get 503. "
            "Counted is who a handshake was from (`context.user`); by default any number",
        ),
    ] = None
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
        Field(alias="ping-interval", description="Time from an answer to the next ping; 0s: none"),
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

"""What a handler sees of a connection: the names that users of ``websockets`` know.

``messages`` has the half that every message passes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from websockets.http11 import Request

from mpchat.http.head import parse_request
from mpchat.websocket.assembly import Message
from mpchat.websocket.frames import MAX_CONTROL
from mpchat.websocket.messages import Messages
from mpchat.websocket.phases import CLOSING
from mpchat.websocket.protocol import WebSocketProtocol


class WebSocketConnection(Messages):
    """One connection; ``handle`` is given it as ``chat``.

    One task at a time may receive; any number may send. Cancelling any of its methods loses no message,
    so ``asyncio.timeout`` around them is safe.

    Attributes:
        id: The connection's name in the log.
        path_params: Values of ``{name}`` parts of the path, percent-decoded.
    """

    __slots__ = ("_request", "id", "path_params")

    def __init__(self, protocol: WebSocketProtocol) -> None:
        super().__init__(protocol)
        self.id = protocol.context.id
        self.path_params = protocol.context.path_params
        # Most handlers never look; the bytes of the head take a tenth of its memory.
        self._request: Request | None = None

    def try_recv(self) -> Message | None:
        """Return a message that has arrived already, or None; never waits.

        Between two calls the task has to await something, or no message can arrive.

        Raises:
            ConnectionClosed: The connection has ended and all its messages were taken.
        """
        protocol, messages = self._protocol, self._messages
        if not messages:
            protocol.pull()
        if messages:
            return messages.pop(0)
        self._incoming.answered(protocol.parser.received)
        protocol.caught_up()
        if protocol.is_finished:
            raise protocol.closed_error()
        return None

    async def ping(self, data: str | bytes | None = None) -> Awaitable[float]:
        """Send a ping; the result, awaited, is the time in seconds until the client's answer.

        Keepalive needs none: ``ping-interval`` and ``ping-timeout`` see to that. Without ``data`` the
        payload is random. Awaiting the result raises ConnectionClosed when no answer can come any more.

        Raises:
            ConnectionClosed: The connection has ended.
            ConcurrencyError: A ping with the same data is not answered yet.
            ValueError: The data is longer than 125 bytes.
        """
        protocol = self._protocol
        if protocol.phase >= CLOSING:
            await protocol.wait_finished()
            raise protocol.closed_error()
        payload = data.encode() if isinstance(data, str) else data
        if payload is not None and len(payload) > MAX_CONTROL:
            raise ValueError(f"a ping has at most {MAX_CONTROL} bytes of data")
        return protocol.ping(payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until the client has confirmed, ``close-timeout`` at the longest.

        Messages that arrive meanwhile are dropped. Nothing happens if the connection is closed already.

        Raises:
            ProtocolError: The code must not be sent, or the reason is longer than 123 bytes.
        """
        self._protocol.close(code, reason)
        await self._protocol.wait_finished()

    @property
    def request(self) -> Request:
        """The handshake, a ``websockets.http11.Request``: ``path`` with its query, ``headers``."""
        if self._request is None:
            self._request = parse_request(self._protocol.head)
        return self._request

    @property
    def remote_address(self) -> tuple[Any, ...] | None:
        """The client's address: ``(host, port)`` for IPv4, ``(host, port, flowinfo, scope_id)`` for IPv6.

        None on a Unix socket. IPv4 clients have IPv4 addresses also where the socket takes both. Behind
        a trusted proxy (options ``proxy-protocol``, ``forwarded``) it is the address of the proxy's
        client, with the port 0 if the proxy does not name it.
        """
        return self._protocol.client.address

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the handshake agreed on (option ``subprotocols``), None without one."""
        return self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code of the client's Close: 1005 if it had none, 1006 without a Close, None while open."""
        return self._protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason in the client's Close: empty without one, None while the connection is open."""
        protocol = self._protocol
        if not protocol.is_finished:
            return None
        return protocol.close_rcvd.reason if protocol.close_rcvd is not None else ""

    @property
    def unanswered_pings(self) -> int:
        """How many times ``ping`` was called since this handler last met a pong of the client.

        A pong counts when ``recv`` or ``try_recv`` has come to it, behind the messages before it: a
        handler that never receives meets none (userver's NotAnsweredSequentialPingsCount). Keepalive's
        own pings do not count.
        """
        return self._protocol.unanswered_pings


def protocol_of(chat: WebSocketConnection) -> WebSocketProtocol:
    """Return the connection that a handler sees as ``chat``."""
    return chat._protocol

"""Clients of a worker in memory, with the names of the other kit's.

The WebSocket client is that of ``websockets``, and plain HTTP is the standard library's: both as over a
socket, but for the transport.
"""

from __future__ import annotations

import asyncio
import http.client
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, overload

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Data

from mpchat.testsuite.clients import (
    HttpResponse,
    ServiceClient,
    WebsocketClient,
    read_response,
)

_CLOSE_SECONDS = 1.0
"""Seconds for the server's Close, which a handler that is not done with a message holds back"""

Plug = Callable[[asyncio.Protocol], None]
"""Connects a client's protocol to the worker"""


class MemoryConnection(ClientConnection):
    """A connection whose ``recv`` does not wait for ever.

    Attributes:
        time_limit: Seconds for one message.
    """

    time_limit: float

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...
    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...
    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive a message.

        Raises:
            TimeoutError: None came within the time limit.
            ConnectionClosed: The connection is closed.
        """
        try:
            async with asyncio.timeout(self.time_limit) as limit:
                return await super().recv(decode)
        except TimeoutError as error:
            if not limit.expired():
                raise
            text = f"the handler sent no message within {self.time_limit:g} s"
            raise TimeoutError(text) from error


class _Connect(connect):
    """``connect`` of ``websockets``, without a socket."""

    def __init__(self, plug: Plug, uri: str, time_limit: float, **options: Any) -> None:
        super().__init__(uri, create_connection=MemoryConnection, **options)
        self._plug = plug
        self._time_limit = time_limit

    async def open_tcp_connection(self) -> ClientConnection:
        connection = cast(MemoryConnection, self.factory(self.ws_uri))
        connection.time_limit = self._time_limit
        self._plug(connection)
        return connection


@dataclass(kw_only=True)
class MemoryWebsocketClient(WebsocketClient):
    """Opens WebSocket connections: ``async with websocket_client.get("chat") as chat``.

    There are no pings of the client's own, which would go by real time.
    """

    port: int = 0
    ping_interval: float | None = None
    ping_timeout: float | None = None
    plug: Plug
    time_limit: float

    def get(self, path: str, **options: Any) -> connect:
        """Connect to a path; the options are those of ``websockets.asyncio.client.connect``."""
        options.setdefault("ping_interval", self.ping_interval)
        options.setdefault("ping_timeout", self.ping_timeout)
        options.setdefault("open_timeout", self.time_limit)
        options.setdefault("close_timeout", _CLOSE_SECONDS)
        uri = f"ws://localhost/{path.lstrip('/')}"
        return _Connect(self.plug, uri, self.time_limit, **options)


@dataclass(frozen=True, kw_only=True)
class MemoryServiceClient(ServiceClient):
    """Sends plain HTTP requests, each on a new connection."""

    port: int = 0
    plug: Plug
    time_limit: float

    async def _send(
        self, method: str, path: str, headers: dict[str, str], data: bytes | str | None
    ) -> HttpResponse:
        socket = _Socket()
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket
        connection.request(method, path, body=data, headers=headers)
        exchange = _Exchange(bytes(socket.sent))
        self.plug(exchange)
        try:
            async with asyncio.timeout(self.time_limit):
                socket.received = await exchange.answer
        except TimeoutError as error:
            exchange.transport.abort()
            text = f"{method} {path} got no answer within {self.time_limit:g} s"
            raise TimeoutError(text) from error
        return read_response(connection.getresponse())


class _Socket:
    """What ``http.client`` needs of a socket."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = b""

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.received)

    def close(self) -> None:
        """Nothing is open."""


class _Exchange(asyncio.Protocol):
    """Sends a request and an end of file, and reads to that of the server, which answers before it."""

    transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = bytearray()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)
        self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(bytes(self._received))

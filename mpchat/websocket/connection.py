"""What a handler sees of a connection: the names that users of ``websockets`` know.

Rules. ``recv`` and ``send`` are the hot path: one call each into the protocol, no allocation that an
idle connection would keep. Only one ``recv`` at a time; ``send`` may come from several tasks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConcurrencyError, ConnectionClosedOK
from websockets.http11 import Request

from mpchat.websocket.scanner import Message

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

_TAKEN_BEFORE_YIELD = 32
"""Messages that one handler takes without a wait before others get their turn of the loop."""


class WebSocketConnection:
    """One open connection; ``handle`` is given it as ``chat``."""

    __slots__ = ("_messages", "_protocol", "_taken", "_waiter", "id", "path_params", "request")

    def __init__(
        self, protocol: WebSocketProtocol, request: Request, connection: str, params: dict[str, str]
    ) -> None:
        self.id = connection
        self.request = request
        self.path_params = params
        self._protocol = protocol
        self._messages: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._taken = 0

    async def recv(self) -> Message:
        """Return the next message: str for text, bytes for binary.

        Raises:
            ConnectionClosed: The connection has ended and all its messages were taken.
            ConcurrencyError: Another ``recv`` is waiting.
        """
        messages = self._messages
        if not messages:
            self._taken = 0
            await self._wait()
        else:
            self._taken += 1
            if self._taken >= _TAKEN_BEFORE_YIELD:
                self._taken = 0
                await asyncio.sleep(0)
        self._protocol.unanswered = True
        return messages.popleft()

    def try_recv(self) -> Message | None:
        """Return a message that has arrived already, or None; never waits.

        Raises:
            ConnectionClosed: The connection has ended and all its messages were taken.
        """
        if not self._messages:
            self._protocol.pull()
        if not self._messages:
            self._protocol.unanswered = False
            self._protocol.caught_up()
            if self._protocol.finished:
                raise self._protocol.closed_error()
            return None
        self._protocol.unanswered = True
        return self._messages.popleft()

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a text (str) or binary message; waits while the client reads slowly.

        Raises:
            ConnectionClosed: The connection has ended.
            TypeError: The message is of another type.
        """
        protocol = self._protocol
        if protocol.sent is not None or protocol.lost:
            await protocol.wait_finished()
            raise protocol.closed_error()
        if isinstance(message, str):
            protocol.send_message(0x1, message.encode())
        elif isinstance(message, bytes):
            protocol.send_message(0x2, message)
        elif isinstance(message, (bytearray, memoryview)):
            protocol.send_message(0x2, bytes(message))
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if protocol.output.paused:
            await protocol.output.wait_writable(protocol.options.write_timeout)

    async def ping(self, data: str | bytes | None = None) -> Awaitable[float]:
        """Send a ping; the result, awaited, is the seconds until the client's answer.

        Raises:
            ConnectionClosed: The connection has ended.
            ConcurrencyError: A ping with the same data is not answered yet.
            ValueError: The data is longer than 125 bytes.
        """
        protocol = self._protocol
        if protocol.sent is not None or protocol.lost:
            await protocol.wait_finished()
            raise protocol.closed_error()
        payload = data.encode() if isinstance(data, str) else data
        if payload is not None and len(payload) > 125:
            raise ValueError("a ping has at most 125 bytes of data")
        return protocol.ping(payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until the client has confirmed, ``close-timeout`` at the longest.

        Raises:
            ProtocolError: The code must not be sent, or the reason is longer than 123 bytes.
        """
        self._protocol.close(code, reason)
        await self._protocol.wait_finished()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate over messages; ends on a normal close (1000, 1001), raises on another."""
        try:
            while True:
                yield await self.recv()
        except ConnectionClosedOK:
            return

    @property
    def remote_address(self) -> Any:
        """The client's address as the socket gives it, None on a Unix socket."""
        return self._protocol.peer

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on in the handshake, None without one."""
        return self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code the connection ended with: 1006 without a Close, None while it is open."""
        return self._protocol.close_code()

    @property
    def close_reason(self) -> str | None:
        """The reason that came with the client's Close, or ours."""
        return self._protocol.close_reason()

    # For the protocol

    def wake(self) -> None:
        """Let a waiting ``recv`` look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def queued(self) -> deque[Message]:
        """Messages that have arrived and were not taken."""
        return self._messages

    @property
    def waiting(self) -> bool:
        """Whether a ``recv`` waits."""
        return self._waiter is not None

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise ConcurrencyError("another recv is waiting on this connection")
        protocol = self._protocol
        loop = asyncio.get_running_loop()
        while True:
            protocol.pull()
            if self._messages:
                return
            protocol.unanswered = False
            protocol.caught_up()
            if protocol.finished:
                raise protocol.closed_error()
            self._waiter = loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            if self._messages:
                return

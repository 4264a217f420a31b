"""How we read a client that sends much at once: straight into the memory that is parsed.

Rules. Bulk reading begins with a connection's first large frame or large read, and stays. While the rest
of a frame is missing, a read takes that and a little beyond it. A read that fills the shared buffer may
have left more in the socket: others have their turn first.

Theory of operation. uvloop reads into a buffer of its own and makes bytes objects of it, which is best
for small reads. A large frame would arrive in several and have to be joined. Here the system writes into
one buffer of the worker. Complete frames are parsed in place, and the rest of an incomplete one is read
into that frame's own buffer, which becomes the message. So between the socket and the message only the
beginning of a frame is copied.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from mpchat.linux.buffers import UNREAD
from mpchat.websocket.budget import Budget
from mpchat.websocket.parser import Parser


class Receiver(Protocol):
    """A connection, which still decides everything."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Take what was read."""

    def wait_for_turn(self) -> None:
        """Read no more in this turn."""

    def controls_received(self, count: int) -> None:
        """Judge so many more records of TLS without data."""

    def eof_received(self) -> bool:
        """The client sends nothing more."""

    def pause_writing(self) -> None:
        """The client reads slowly."""

    def resume_writing(self) -> None:
        """It has read."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""


class BulkReader(asyncio.BufferedProtocol):
    """Reads for a connection."""

    __slots__ = ("_parser", "_receiver", "_scratch", "_turn")

    def __init__(
        self, receiver: Receiver, parser: Parser, turn: Budget, scratch: memoryview
    ) -> None:
        self._receiver = receiver
        self._parser = parser
        self._parser.has_buffers = True
        self._turn = turn
        self._scratch = scratch

    def get_buffer(self, _size_hint: int) -> memoryview:
        """Return where the next bytes go."""
        buffer = self._parser.rest or self._scratch
        if self._turn.left > 0:
            return buffer
        return buffer[: self._turn.thresholds.bulk_read_when_spent]

    def buffer_updated(self, count: int) -> None:
        """Take so many bytes from there."""
        receiver, parser = self._receiver, self._parser
        if parser.rest is not None:
            self._turn.left -= count
            receiver.data_received(parser.add_rest(count))
            return
        data = self._scratch[:count]
        # What is not parsed at once may not stay where others read.
        receiver.data_received(data if self._turn.left > 0 else bytes(data))
        if count == len(self._scratch):
            receiver.wait_for_turn()

    def controls_received(self, count: int) -> None:
        self._receiver.controls_received(count)

    def eof_received(self) -> bool:
        return self._receiver.eof_received()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(exc)


def let_in(transport: asyncio.Transport, max_message: int, limit: int) -> None:
    """Raise SO_RCVBUF to the largest message: through a smaller window it would come in many reads."""
    unread = min(max_message, limit)
    if unread > UNREAD:
        client: socket.socket | None = transport.get_extra_info("socket")
        # A transport in memory has none.
        if client is not None and client.family != socket.AF_UNIX:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread)

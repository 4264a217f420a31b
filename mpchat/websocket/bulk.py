"""How the socket of a client is read that sends much at once: straight to where frames are parsed.

Rules. It begins with a connection's first large frame or large read, and stays. While the rest of a frame
is awaited nothing else is read than that and a little beyond it. After a read that fills the buffer of
all there may be more: then others have their turn first.

Theory of operation. uvloop reads into a buffer of its own and makes bytes of that, which is best for what
is small. A large frame comes in several of those and would have to be put together. Here the system
writes into one buffer of the worker, from which frames that are there whole are parsed as they lie, and
the rest of one that is not goes where it belongs. So between the socket and the unmasked message
nothing is copied but the beginning of a frame.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

_SPENT_BYTES = 16 * 1024
"""Read at once where the turn's budget is spent."""
SCRATCH_BYTES = 192 * 1024
"""Read at once, at the most, where frames begin: what a client may make us hold is the less for it."""


def read_in_bulk(protocol: WebSocketProtocol) -> None:
    """Read this connection's socket in bulk from now on."""
    # Which read fills its buffer is told by the reader.
    protocol.large_read = sys.maxsize
    protocol.transport.set_protocol(BulkReader(protocol))


class BulkReader(asyncio.BufferedProtocol):
    """Reads for a protocol, which goes on deciding about everything."""

    __slots__ = ("_protocol", "_scanner", "_scratch", "_turn")

    def __init__(self, protocol: WebSocketProtocol) -> None:
        self._protocol = protocol
        self._scanner = protocol.scanner
        self._scanner.has_buffers = True
        self._scratch = protocol.shared.scratch
        self._turn = protocol.turn

    def get_buffer(self, _size_hint: int) -> memoryview:
        """Return where the next bytes go."""
        buffer = self._scanner.rest or self._scratch
        return buffer if self._turn.left > 0 else buffer[:_SPENT_BYTES]

    def buffer_updated(self, count: int) -> None:
        """They are there."""
        protocol, scanner = self._protocol, self._scanner
        if scanner.rest is not None:
            self._turn.left -= count
            protocol.data_received(scanner.add_rest(count))
            return
        data = self._scratch[:count]
        # What is not parsed at once may not stay where others read.
        protocol.data_received(data if self._turn.left > 0 else bytes(data))
        if count == SCRATCH_BYTES:
            protocol.wait_for_turn()

    def eof_received(self) -> bool:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

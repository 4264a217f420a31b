"""What becomes of a stream: in the parser, and in a ``websockets.asyncio`` server.

The server is the real ``ServerConnection`` after a real handshake, with the real assembling of messages,
and its handler records. Only the transport is not a socket, which makes it a hundred times faster;
test_differential shows with sockets that nothing hangs on that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.server import ServerProtocol

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.assembly import Message
from mpchat.websocket.budget import Budget
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import CLOSE, PONG
from tests.kit.raw import handshake
from tests.unit.websocket.compressed import BITS
from tests.unit.websocket.streams import Stream, frames

NO_CODE = 1005
_SILENT = logging.getLogger("tests.reference")
_SILENT.disabled = True
_TURNS_OF_HANDSHAKE = 8
_TURNS = 3
"""A handler that waits for a message has it after two turns of the loop, and has answered a bad one"""


@dataclass(frozen=True)
class Outcome:
    """What a handler saw, and what went back to the client."""

    messages: tuple[Message, ...]
    pongs: tuple[bytes, ...]
    close: int | None
    """The code of our Close; NO_CODE for one without, None while the connection is open"""


def answered(output: bytes) -> tuple[tuple[bytes, ...], int | None]:
    """Return the payloads of the pongs and the close code in what a server sent."""
    pongs: list[bytes] = []
    close = None
    for header in frames(output):
        payload = output[header.stop - header.length : header.stop]
        opcode = header.first & 0x0F
        assert close is None, "something was sent after Close"
        if opcode == PONG:
            pongs.append(payload)
        else:
            assert opcode == CLOSE
            close = int.from_bytes(payload[:2]) if payload else NO_CODE
    return tuple(pongs), close


class Scan:
    """One run of a parser over a stream, cut into pieces; one with buffers is fed as by bulk."""

    def __init__(
        self,
        parser_class: type[Parser],
        stream: Stream,
        cuts: Sequence[int] = (),
        budget: int = 64,
        in_bulk: Thresholds | None = None,
    ) -> None:
        traffic = Counters().traffic_of("test")
        agreement = None
        if stream.takeover is not None:
            agreement = Agreement(BITS, BITS, stream.takeover, stream.takeover)
        parser = parser_class(stream.limit, traffic, Budget(in_bulk or Thresholds()), agreement)
        parser.has_buffers = in_bulk is not None
        messages: list[Message] = []
        data = stream.data
        self.rests = 0
        for start, stop in pairwise((0, *cuts, len(data))):
            piece: bytes | memoryview
            for piece in self._read(parser, data[start:stop]):
                before = len(messages)
                more = parser.feed(piece, messages, budget)
                assert len(messages) - before <= budget
                while more:
                    before = len(messages)
                    more = parser.feed(b"", messages, budget)
                    assert len(messages) - before <= budget
        ending = parser.closed or parser.failure
        assert parser.is_over == (ending is not None)
        assert parser.received == traffic.messages_received == len(messages)
        self.parser = parser
        self.messages = messages
        self.output = parser.take_control()[0] + (ending.frame if ending is not None else b"")

    def _read(self, parser: Parser, data: bytes) -> Iterator[bytes | memoryview]:
        """Yield what the parser is fed with, once it has been put where that belongs."""
        if not parser.has_buffers:
            yield data
            return
        scratch = bytearray(len(data))
        while data:
            rest = parser.rest
            if rest is None:
                scratch[: len(data)] = data
                yield memoryview(scratch)[: len(data)]
                # Others read into it now.
                scratch[:] = b"\xff" * len(scratch)
                return
            self.rests += 1
            count = min(len(rest), len(data))
            rest[:count] = data[:count]
            yield parser.add_rest(count)
            data = data[count:]

    def equals(self, other: Scan) -> bool:
        """Whether the other run saw and answered the same, to the byte."""
        return self.messages == other.messages and self.output == other.output

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        return Outcome(tuple(self.messages), *answered(self.output))


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Reading is over: the stream is one read."""

    def resume_reading(self) -> None:
        pass


class _Server(Server):
    def is_serving(self) -> bool:
        return True


async def reference(stream: Stream) -> Outcome:
    """Return what a ``websockets`` server makes of these bytes, received in one read."""
    messages: list[Message] = []

    async def handle(connection: ServerConnection) -> None:
        await connection.handshake()
        async with connection:
            await record(connection, messages)

    server = _Server(asyncio.Future, handle, _SILENT)  # type: ignore[arg-type]
    extensions, lines = None, []
    if stream.takeover is not None:
        plain = not stream.takeover
        extensions = [ServerPerMessageDeflateFactory(plain, plain, BITS, BITS)]
        lines = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
    protocol = ServerProtocol(extensions=extensions, max_size=stream.limit, logger=_SILENT)
    connection = ServerConnection(protocol, server, ping_interval=None, close_timeout=None)
    transport = _Transport()
    connection.connection_made(transport)
    (task,) = server.handler_tasks
    connection.data_received(handshake("/", *lines))
    try:
        await _turns(_TURNS_OF_HANDSHAKE)
        assert transport.written.startswith(b"HTTP/1.1 101 ")
        transport.written.clear()
        connection.data_received(stream.data)
        await _turns(_TURNS)
        output = bytes(transport.written)
    finally:
        connection.eof_received()
        connection.connection_lost(None)
        await task
    return Outcome(tuple(messages), *answered(output))


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def record(connection: ServerConnection, messages: list[Message]) -> None:
    """Keep every message, to the end of the connection."""
    try:
        while True:
            messages.append(await connection.recv())
    except ConnectionClosed:
        return

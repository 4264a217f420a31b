"""What leaves for one client: when it is written, and when the sender has to wait.

Rules. A reply with no further input queued is written at once; with input queued it is gathered, and
one write at the end of the loop's turn takes all. Control frames go behind the data that was gathered
before them. While the client reads slowly ``send`` waits, so what is buffered stays within write-limit.
"""

from __future__ import annotations

import asyncio
import socket

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.deflate import Agreement, Deflater
from mpchat.websocket.frames import frame_header, pack_medium
from mpchat.websocket.handler import WebsocketHandlerBase

_COMPRESSED = 0x40
_SHORT = {
    opcode: [frame_header(opcode, length) for length in range(126)]
    for opcode in (0x1, 0x2, 0x1 | _COMPRESSED, 0x2 | _COMPRESSED)
}
_GATHERED_BYTES = 64 * 1024
"""Replies with more payload than this are written before the turn's end."""
_SEPARATE_BYTES = 16 * 1024
"""From this size on, header and payload are written without being joined."""
_MOST_FRAGMENTS = 4096
"""Into more fragments than this no message is cut: the fragments get larger instead."""
_MOST_PARTS = 64
"""With more parts than this, joining them is cheaper than handing them over one by one."""
_UNSENT = 256 * 1024
"""Bytes that the kernel holds of answers beyond the client's window, as supervisor/sockets has it."""
_LARGE_UNSENT = 1024 * 1024
"""The same, at the most, where messages go out in larger fragments."""


class Output:
    """The writing half of a connection."""

    __slots__ = (
        "_counters",
        "_fragment_size",
        "_gathered",
        "_payload_bytes",
        "_transport",
        "_uncounted",
        "_waiters",
        "is_closed",
        "paused",
        "sent",
        "sent_bytes",
    )

    def __init__(
        self, transport: asyncio.Transport, counters: Counters, fragment_size: int, limit: int
    ) -> None:
        transport.set_write_buffer_limits(high=limit)
        self.paused = False
        self.is_closed = False
        """An end has begun: whether a message may go out is for the protocol to say"""
        self.sent = 0
        self.sent_bytes = 0
        self._transport = transport
        self._counters = counters
        self._fragment_size = fragment_size
        self._gathered: list[bytes] = []
        # Of the messages among them: bytes of payload, and how many have not been counted yet.
        self._payload_bytes = 0
        self._uncounted = 0
        self._waiters: list[asyncio.Future[None]] | None = None

    def send_message(self, opcode: int, payload: bytes, at_once: bool) -> bool:
        """Send one message, or gather it; False if the turn's end has to flush it.

        Messages longer than ``fragment-size`` go out in fragments.
        """
        length = len(payload)
        size = self._fragment_size
        if length < _SEPARATE_BYTES and (length <= size or not size):
            header = (
                _SHORT[opcode][length] if length < 126 else pack_medium(opcode | 0x80, 126, length)
            )
            frame = header + payload
            if at_once and not self._gathered:
                # As _count does: a call would cost as much as the counting.
                self.sent += 1
                self.sent_bytes += length
                counters = self._counters
                counters.messages_sent += 1
                counters.bytes_sent += length
                self._transport.write(frame)
                return True
            self._gathered.append(frame)
        else:
            self._gather_large(opcode, payload, size)
        self._uncounted += 1
        self._payload_bytes += length
        if at_once or self._payload_bytes >= _GATHERED_BYTES:
            self.flush()
            return True
        return False

    def _count(self, messages: int, payload_bytes: int) -> None:
        self.sent += messages
        self.sent_bytes += payload_bytes
        counters = self._counters
        counters.messages_sent += messages
        counters.bytes_sent += payload_bytes

    def _gather_large(self, opcode: int, payload: bytes, size: int) -> None:
        length = len(payload)
        if not size or length <= size:
            self.gather(frame_header(opcode, length))
            self.gather(payload)
            return
        # The default limit of websockets' clients; with a tiny size its messages would never arrive.
        size = max(size, -(-length // _MOST_FRAGMENTS))
        for start in range(0, length, size):
            part = payload[start : start + size]
            self.gather(frame_header(opcode, len(part), final=start + size >= length))
            self.gather(part)
            opcode = 0

    @property
    def backlog(self) -> int:
        """Bytes that wait here until the client reads."""
        return self._payload_bytes + self._transport.get_write_buffer_size()

    def gather(self, data: bytes) -> None:
        """Add bytes to what the next flush writes."""
        self._gathered.append(data)

    def flush(self) -> None:
        """Write what was gathered."""
        gathered = self._gathered
        if not gathered:
            return
        size = self._payload_bytes
        if self._uncounted:
            self._count(self._uncounted, size)
        self._gathered, self._payload_bytes, self._uncounted = [], 0, 0
        if size < _SEPARATE_BYTES or len(gathered) > _MOST_PARTS:
            self._transport.write(b"".join(gathered))
        else:
            self._transport.writelines(gathered)

    async def wait_writable(self) -> None:
        """Wait until the client has read enough of what was sent, or is gone."""
        while self.paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def resume(self) -> None:
        """The client has read, or nobody needs to wait any more."""
        self.paused = False
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class DeflatingOutput(Output):
    """The same where the handshake has agreed on compression."""

    __slots__ = ("_deflater",)

    def __init__(
        self,
        transport: asyncio.Transport,
        counters: Counters,
        fragment_size: int,
        limit: int,
        deflater: Deflater,
    ) -> None:
        super().__init__(transport, counters, fragment_size, limit)
        self._deflater = deflater

    def send_message(self, opcode: int, payload: bytes, at_once: bool) -> bool:
        """Send or gather one message, compressed unless it is small or does not shrink."""
        deflated = self._deflater.deflate(payload)
        if deflated is None:
            return super().send_message(opcode, payload, at_once)
        # What it saves is counted at once, the rest when it is written: bytes are those of messages.
        saved = len(payload) - len(deflated)
        self.sent_bytes += saved
        self._counters.bytes_sent += saved
        return super().send_message(opcode | _COMPRESSED, deflated, at_once)


def make_output(
    transport: asyncio.Transport,
    counters: Counters,
    options: WebsocketHandlerBase.Options,
    agreement: Agreement | None,
) -> Output:
    """Return the writing half for what the handshake has agreed on."""
    sizes = options.fragment_size, options.write_limit
    _let_through(transport, options.fragment_size)
    if agreement is None:
        return Output(transport, counters, *sizes)
    return DeflatingOutput(transport, counters, *sizes, Deflater(agreement))


def _let_through(transport: asyncio.Transport, fragment_size: int) -> None:
    """Have the kernel take a fragment whole: in several pieces a large one costs a tenth more."""
    unsent = min(fragment_size or _LARGE_UNSENT, _LARGE_UNSENT)
    if unsent > _UNSENT:
        client: socket.socket = transport.get_extra_info("socket")
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)

"""What leaves for one client: when it is written, and when the sender has to wait.

Rules. A reply with no further input queued is written at once; with input queued it is gathered, and
one write at the end of the loop's turn takes all. Control frames go behind the data that was gathered
before them. While the client reads slowly ``send`` waits, so what is buffered stays within write-limit.
Bytes that the system does not take at once belong to the outlet, alone, until it does. While the outlet
has none, they are written to the socket past it, which saves up to a tenth of an echo.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Protocol

from mpchat.linux.buffers import UNSENT
from mpchat.scoreboard.traffic import Traffic
from mpchat.websocket.batch import Batch
from mpchat.websocket.deflate import Agreement, Deflater
from mpchat.websocket.direct import write
from mpchat.websocket.frames import FINAL, RSV1, in_fragments
from mpchat.websocket.payload import framed
from mpchat.websocket.state import State
from mpchat.websocket.thresholds import Thresholds


class Outlet(Protocol):
    """Where a connection's bytes leave: asyncio's transport, or what has the same three methods."""

    def write(self, data: bytes, /) -> None:
        """Take these bytes, and own them until the system has them."""

    def writelines(self, parts: Sequence[bytes], /) -> None:
        """Take these, one behind the other."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the system has not taken yet."""


class Outgoing:
    """The writing half of a connection.

    Attributes:
        paused: The client reads slowly: ``send`` waits, and nothing more is read.
        sent, sent_bytes: Messages that were written so far, and the bytes of their payloads.
    """

    __slots__ = (
        "_counters",
        "_descriptor",
        "_fragment_size",
        "_gathered",
        "_is_behind",
        "_max_gathered",
        "_max_joined",
        "_outlet",
        "_payload_bytes",
        "_thresholds",
        "_uncounted",
        "_waiters",
        "paused",
        "sent",
        "sent_bytes",
    )

    def __init__(
        self,
        outlet: Outlet,
        descriptor: int,
        counters: Traffic,
        thresholds: Thresholds,
        fragment_size: int,
    ) -> None:
        self._outlet = outlet
        self._descriptor = descriptor
        # The outlet may have bytes; one without a socket always gets them all.
        self._is_behind = True
        self.paused = False
        self.sent = 0
        self.sent_bytes = 0
        self._counters = counters
        self._thresholds = thresholds
        self._fragment_size = fragment_size
        # Asked for with every message: the largest payload that goes out as one frame, header joined.
        self._max_joined = min(thresholds.separate_payload - 1, fragment_size or sys.maxsize)
        self._max_gathered = thresholds.max_gathered
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
        if length <= self._max_joined:
            frame = framed(opcode | FINAL, payload)
            if at_once and not self._gathered:
                # As _count does: a call would cost as much as the counting.
                self.sent += 1
                self.sent_bytes += length
                counters = self._counters
                counters.messages_sent += 1
                counters.bytes_sent += length
                self._write(frame)
                return True
            self._gathered.append(frame)
        else:
            self._gather_large(opcode, payload)
        self._uncounted += 1
        self._payload_bytes += length
        if at_once or self._payload_bytes >= self._max_gathered:
            self.flush()
            return True
        return False

    def send_batch(self, batch: Batch, most: int) -> bool:
        """Send messages that many are sent, behind what was gathered.

        False, and nothing is sent, if more than ``most`` bytes wait for this client already.
        """
        if self._is_behind and self.unsent() + self._payload_bytes > most:
            return False
        self._send_made(batch, batch.plain(self._fragment_size, self._thresholds))
        return True

    def _send_made(self, batch: Batch, data: bytes) -> None:
        size = batch.size
        if not self._gathered:
            self.sent += batch.count
            self.sent_bytes += size
            counters = self._counters
            counters.messages_sent += batch.count
            counters.bytes_sent += size
            self._write(data)
            return
        self._gathered.append(data)
        self._uncounted += batch.count
        self._payload_bytes += size
        if self._payload_bytes >= self._max_gathered:
            self.flush()

    def _count(self, messages: int, payload_bytes: int) -> None:
        self.sent += messages
        self.sent_bytes += payload_bytes
        counters = self._counters
        counters.messages_sent += messages
        counters.bytes_sent += payload_bytes

    def _gather_large(self, opcode: int, payload: bytes) -> None:
        most = self._thresholds.max_fragments
        for part in in_fragments(opcode, payload, self._fragment_size, most):
            self.gather(part)

    def unsent(self) -> int:
        """Return how many bytes were written that the system has not taken yet."""
        return self._outlet.get_write_buffer_size()

    @property
    def backlog(self) -> int:
        """Bytes that wait here until the client reads."""
        return self._payload_bytes + self.unsent()

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
        if size < self._thresholds.separate_payload or len(gathered) > self._thresholds.max_parts:
            self._write(b"".join(gathered))
        else:
            self._is_behind = True
            self._outlet.writelines(gathered)

    def _write(self, data: bytes) -> None:
        """Give bytes to the system, and to the outlet what is not taken at once."""
        if self._is_behind:
            self._is_behind = self._descriptor < 0 or self.unsent() > 0
        taken = 0 if self._is_behind else write(self._descriptor, data)
        if taken < len(data):
            self._is_behind = True
            self._outlet.write(data[taken:] if taken else data)

    def forget_socket(self) -> None:
        """The socket is about to be closed: its descriptor may soon be another's."""
        self._descriptor, self._is_behind = -1, True

    async def wait_writable(self) -> None:
        """Wait until the client has read enough of what was sent, or is gone."""
        while self.paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def resume(self) -> None:
        """The client has read, or is gone: wake all who wait."""
        self.paused = False
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def to_state(self) -> State:
        """Return what the other half of a connection has left, as plain values."""
        return {
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "gathered": b"".join(self._gathered),
            "gathered_messages": self._uncounted,
            "gathered_payload": self._payload_bytes,
        }

    def continue_from(self, state: State) -> None:
        """Go on where another object has left off."""
        self.sent = state["sent"]
        self.sent_bytes = state["sent_bytes"]
        self._gathered = [state["gathered"]] if state["gathered"] else []
        self._uncounted = state["gathered_messages"]
        self._payload_bytes = state["gathered_payload"]


class DeflatingOutgoing(Outgoing):
    """The same where the handshake has agreed on compression."""

    __slots__ = ("_deflater",)

    def __init__(
        self,
        outlet: Outlet,
        descriptor: int,
        counters: Traffic,
        thresholds: Thresholds,
        fragment_size: int,
        deflater: Deflater,
    ) -> None:
        super().__init__(outlet, descriptor, counters, thresholds, fragment_size)
        self._deflater = deflater

    def send_message(self, opcode: int, payload: bytes, at_once: bool) -> bool:
        """Send or gather one message, compressed unless it is small or does not shrink."""
        deflated = self._deflater.deflate(payload)
        if deflated is None:
            return Outgoing.send_message(self, opcode, payload, at_once)
        # What it saves is counted at once, the rest when it is written: bytes are those of messages.
        saved = len(payload) - len(deflated)
        self.sent_bytes += saved
        self._counters.bytes_sent += saved
        return Outgoing.send_message(self, opcode | RSV1, deflated, at_once)

    def send_batch(self, batch: Batch, most: int) -> bool:
        """Send messages that many are sent; compressed once for all where no window is kept."""
        if self._is_behind and self.unsent() + self._payload_bytes > most:
            return False
        deflater = self._deflater
        if not deflater.takeover:
            data = batch.deflated(self._fragment_size, deflater, self._thresholds)
            self._send_made(batch, data)
            return True
        is_gathering = bool(self._gathered)
        for opcode, payload in batch.frames:
            self.send_message(opcode, payload, False)
        if not is_gathering:
            self.flush()
        return True

    def to_state(self) -> State:
        """Return the same, and the window."""
        return {**super().to_state(), "window": self._deflater.window}

    def continue_from(self, state: State) -> None:
        """Go on where another object has left off."""
        super().continue_from(state)
        self._deflater.window = state["window"]


def make_outgoing(
    outlet: Outlet,
    descriptor: int,
    counters: Traffic,
    thresholds: Thresholds,
    fragment_size: int,
    agreement: Agreement | None,
) -> Outgoing:
    """Return the writing half for what the handshake has agreed on.

    ``descriptor`` is that of the outlet's socket, -1 if it has none.
    """
    if agreement is None:
        return Outgoing(outlet, descriptor, counters, thresholds, fragment_size)
    deflater = Deflater(agreement, thresholds)
    return DeflatingOutgoing(outlet, descriptor, counters, thresholds, fragment_size, deflater)


def let_through(transport: asyncio.Transport, fragment_size: int, limit: int) -> None:
    """Raise TCP_NOTSENT_LOWAT to the fragment size: large fragments cost 10 % more CPU in pieces."""
    unsent = min(fragment_size or limit, limit)
    if unsent > UNSENT:
        client: socket.socket | None = transport.get_extra_info("socket")
        # A transport in memory has none.
        if client is not None and client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)

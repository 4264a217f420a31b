"""One worker's pair: its frames in, and what waits for it going out.

Rules. The broker waits for no worker. What a worker does not read is held up to ``backlog`` bytes and
one turn more; beyond that the pair is *behind*: it holds one offset instead, from which it follows the
log once the worker reads again. Answers to publishes go out in any case: a worker has a bounded number
of them open. Everything else that it asks waits, in order, until it has read, so offsets never fall on
a pair. Where a worker's questions or unread answers grow too much, it is not read either. End of file,
a reset and the supervisor's word are one event.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Protocol, cast

from mpchat.ipc.asking import Hello
from mpchat.ipc.framing import Frames, MalformedFrame
from mpchat.ipc.records import FIRST_OTHER_KIND, offset_of
from mpchat.ipc.rooms import CLOSE, HELLO, PUBLISH

CHUNK = 256 * 1024
"""Bytes above which a transport says that it is full."""
_ANSWERS = 3
"""Backlogs of unread answers to its publishes, beyond which a worker is not read."""


class Broker(Protocol):
    """What a pair needs of the broker."""

    def publish(self, pair: Pair, frame: bytes) -> None:
        """Take a publish."""

    def close(self, pair: Pair, frame: bytes) -> None:
        """End a room."""

    def ask(self, pair: Pair, frame: bytes) -> None:
        """Take any other frame."""

    def begin(self, pair: Pair) -> None:
        """The worker has said who it is."""

    def resume(self, pair: Pair) -> None:
        """Go on, in the next turn, with a pair whose worker has read."""

    def lose(self, pair: Pair, why: str) -> None:
        """The pair is of no more use: its worker is gone, or said what it may not."""


class Pair(asyncio.Protocol):
    """The broker's end of a pair.

    Attributes:
        number, incarnation, slot: The pair's, and the worker's, as the supervisor said.
        out: Frames of this turn, in order.
        behind: The offset from which this worker has to follow the log; None: it is not behind.
        closing: Rooms that were closed while it was behind: it is still to be told.
        marked: The last mark that it was sent.
        waiting: Frames that it has sent, and that wait until it reads.
        open: Frames may be written.
        has_begun: The worker has said who it is.
        token: The worker's own, as it has said.
    """

    def __init__(
        self,
        broker: Broker,
        sock: socket.socket,
        *,
        number: int,
        incarnation: int,
        slot: int,
        backlog: int,
    ) -> None:
        self.number, self.incarnation, self.slot = number, incarnation, slot
        self.out: list[bytes] = []
        self.behind: int | None = None
        self.closing: set[bytes] = set()
        self.marked = 0
        self.waiting: deque[bytes] = deque()
        self.open = False
        self._broker = broker
        self._sock = sock
        self._backlog = backlog
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.has_begun = False
        self.token = 0
        self._queued = 0
        """Bytes of ``out`` that are neither records nor answers to publishes"""
        self._waiting_bytes = 0
        self._is_paused = False
        self._has_ended = False

    def __repr__(self) -> str:
        return f"the worker of slot {self.slot} (incarnation {self.incarnation})"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._has_ended:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=min(CHUNK, self._backlog))
        self.open = True

    def data_received(self, data: bytes) -> None:
        broker = self._broker
        if not self.open:
            return
        try:
            for frame in self._frames.cut(data):
                if not self.open:
                    return
                if frame[4] == PUBLISH and self.has_begun:
                    broker.publish(self, frame)
                else:
                    self._take(frame)
        except MalformedFrame as error:
            broker.lose(self, str(error))
        except OSError as error:
            # uvloop would take it for the transport's own, and go on.
            raise RuntimeError("the history cannot be used") from error

    def _take(self, frame: bytes) -> None:
        """Take a frame that is no publish."""
        kind = frame[4]
        if not self.has_begun:
            hello = Hello.parse(frame)
            if hello.incarnation != self.incarnation:
                raise MalformedFrame(f"it says to be incarnation {hello.incarnation}")
            self.has_begun = True
            self.token = hello.token
            self._broker.begin(self)
        elif kind == HELLO:
            raise MalformedFrame("a second HELLO")
        elif kind == CLOSE:
            self._broker.close(self, frame)
        elif self.waiting or self.is_full:
            self.wait(frame)
        else:
            self._broker.ask(self, frame)

    def wait(self, frame: bytes) -> None:
        """Let a frame wait until its worker has read."""
        self.waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._backlog:
            self._read_no_more()

    def take_waiting(self) -> None:
        """Take the frames that have waited, as far as there is room for their answers."""
        while self.waiting and not self.is_full:
            frame = self.waiting.popleft()
            self._waiting_bytes -= len(frame)
            self._broker.ask(self, frame)
        self.read_on()

    def _read_no_more(self) -> None:
        """Let the worker wait: it sends, and does not read what it gets for it."""
        if not self._is_paused:
            self._is_paused = True
            self._transport_now.pause_reading()

    def read_on(self) -> None:
        """Read again, if the worker has read enough meanwhile."""
        if (
            self._is_paused
            and self.open
            and self._waiting_bytes <= self._backlog // 2
            and self.unsent <= self._backlog
        ):
            self._is_paused = False
            self._transport_now.resume_reading()

    @property
    def is_full(self) -> bool:
        """Whether it has to read before it gets more than answers to its publishes."""
        return self.behind is not None or self.unsent + self._queued > self._backlog

    @property
    def unsent(self) -> int:
        """Bytes that were written, and that the kernel has not taken."""
        return self._transport_now.get_write_buffer_size() if self.open else 0

    @property
    def _transport_now(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def answer(self, frame: bytes) -> None:
        """Send an answer that stands in order with the records."""
        self.out.append(frame)
        self._queued += len(frame)

    def hint(self, frame: bytes) -> None:
        """Send a hint if there is room for it."""
        if not self.is_full:
            self.answer(frame)

    def write(self, frames: list[bytes]) -> None:
        """Write records that it had missed, ahead of what this turn brings."""
        if self.open and frames:
            self._transport_now.write(b"".join(frames))

    @property
    def takes_more(self) -> bool:
        """Whether its transport takes more at once; if not, ``resume_writing`` will be called."""
        return self.open and self.unsent <= min(CHUNK, self._backlog)

    def send(self) -> None:
        """Write the frames of this turn, or fall behind."""
        transport, out = self._transport, self.out
        self.out = []
        self._queued = 0
        if transport is None or not self.open:
            return
        if self.behind is None and transport.get_write_buffer_size() > self._backlog:
            out = self._fall_behind(out)
        if out:
            transport.write(b"".join(out) if len(out) > 1 else out[0])
            if self.behind is not None and self.unsent > _ANSWERS * self._backlog:
                self._read_no_more()

    def _fall_behind(self, out: list[bytes]) -> list[bytes]:
        """Keep the offset of the first record in place of the records; return the other frames.

        Answers that stand in order with records come before those of their turn, so they are kept.
        """
        first = next((frame for frame in out if frame[4] < FIRST_OTHER_KIND), None)
        if first is None:
            return out
        self.behind = offset_of(first)
        return [frame for frame in out if frame[4] >= FIRST_OTHER_KIND]

    def resume_writing(self) -> None:
        self._broker.resume(self)

    def eof_received(self) -> bool:
        self._broker.lose(self, "")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._broker.lose(self, "")

    def end(self) -> None:
        """Close the pair, also for copies of its end that a forked process may hold."""
        self.open = False
        self._has_ended = True
        self.waiting.clear()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._transport is not None:
            self._transport.abort()


async def connect(loop: asyncio.AbstractEventLoop, pair: Pair, sock: socket.socket) -> None:
    """Let the loop serve the pair."""
    await loop.create_connection(lambda: pair, sock=sock)

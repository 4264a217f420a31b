"""A worker's end of the pair to the broker: bytes to frames, and frames to bytes once a turn.

Rules. A fresh pair ends the old one, whatever is still in that: nothing is carried over, and who uses
the link says again what the broker has to know. End of file, a reset and a failed write are one event:
the broker is gone, and another pair will come. A pair that talks nonsense, or over whose frames we fail,
is given up and reported. Reading stops while more is held for members than ``most``, and waits for its
turn as clients do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from mpchat.ipc.asking import Hello
from mpchat.ipc.framing import Frames
from mpchat.websocket.broadcast import Hall
from mpchat.websocket.budget import READ
from mpchat.websocket.direct import read

log = logging.getLogger("mpchat.rooms")


class Receiver(Protocol):
    """Who acts on what the broker says."""

    def connected(self) -> None:
        """A fresh pair is there, and HELLO is on its way."""

    def disconnected(self) -> None:
        """The pair has ended."""

    def receive(self, frames: list[bytes]) -> None:
        """Act on frames of the broker, in order.

        Raises:
            MalformedFrame: One of them is not as it has to be.
        """


class Link:
    """The pair of the moment, if there is one.

    Attributes:
        is_up: There is one.
        on_broken: Called with the number of a pair that is of no use though both ends live.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hall: Hall, most: int) -> None:
        self.is_up = False
        self.on_broken: Callable[[int], None] | None = None
        self._loop = loop
        self._hall = hall
        self._most = most
        self._receiver: Receiver | None = None
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._pair = 0
        self._frames = Frames()
        self._out: list[bytes] = []
        self._rest: memoryview | None = None
        self._is_scheduled = self._is_reading = self._is_in_line = False
        hall.on_less = self._read_on

    def begin(self, receiver: Receiver) -> None:
        """Say who acts on frames; before the first pair."""
        self._receiver = receiver

    def take(self, end: socket.socket, pair: int, hello: Hello) -> None:
        """Use a fresh pair from now on."""
        self.close()
        end.setblocking(False)
        self._socket = end
        self._descriptor = end.fileno()
        self._pair = pair
        self._frames = Frames()
        self.is_up = True
        self.send(hello.pack())
        self._read_on()
        if self._receiver is not None:
            self._receiver.connected()

    def close(self) -> None:
        """Give the pair up. It is shut down, too: a forked process may hold a copy."""
        end, self._socket = self._socket, None
        if end is None:
            return
        self.is_up = False
        self._out.clear()
        if self._rest is not None:
            self._rest = None
            self._loop.remove_writer(end)
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(end)
        with contextlib.suppress(OSError):
            # It may have been reset.
            end.shutdown(socket.SHUT_RDWR)
        end.close()
        if self._receiver is not None:
            self._receiver.disconnected()

    def send(self, frame: bytes) -> None:
        """Send a frame with the others of this turn; without a pair it is forgotten."""
        if self.is_up:
            self._out.append(frame)
            if not self._is_scheduled:
                self._is_scheduled = True
                self._loop.call_soon(self._flush)

    def serve(self) -> None:
        """Read on; the turn calls this."""
        self._is_in_line = False
        self._read_on()

    # Writing

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._out and self._rest is None and self._socket is not None:
            out, self._out = self._out, []
            self._write(memoryview(out[0] if len(out) == 1 else b"".join(out)))

    def _write(self, data: memoryview) -> None:
        end = self._socket
        assert end is not None
        try:
            data = data[end.send(data) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if data and self._rest is None:
            self._loop.add_writer(end, self._write_on)
        elif not data and self._rest is not None:
            self._loop.remove_writer(end)
        self._rest = data or None

    def _write_on(self) -> None:
        if self._rest is not None:
            self._write(self._rest)
        self._flush()

    # Reading

    def _read_on(self) -> None:
        """Read if there is room, and stop if not."""
        end = self._socket
        if end is None or self._is_in_line:
            return
        wanted = self._hall.held <= self._most
        if wanted and not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(end, self._read)
        elif not wanted and self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(end)
        self._hall.is_awaited = not wanted

    def _read(self) -> None:
        end, hall = self._socket, self._hall
        assert end is not None
        turn = hall.turn
        if turn.left <= 0:
            self._is_reading = False
            self._loop.remove_reader(end)
            self._is_in_line = True
            turn.line_up(turn.open_line, self)
            return
        data = read(self._descriptor)
        if data is None:
            return
        if not data:
            self.close()
            return
        turn.charge(READ + len(data))
        try:
            frames = self._frames.cut(data)
            if frames and self._receiver is not None:
                self._receiver.receive(frames)
        except Exception:
            # A malformed frame, or a mistake of ours: what else was read may be lost with it. On a fresh
            # pair each room goes on at its position.
            log.exception("the broker's frames cannot be read, its pair is given up")
            self._give_up()
        hall.deliver()
        self._read_on()

    def _give_up(self) -> None:
        """Ask for another pair."""
        pair = self._pair
        self.close()
        if self.on_broken is not None:
            self.on_broken(pair)

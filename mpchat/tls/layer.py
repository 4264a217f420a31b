"""TLS between a socket and HTTP or a WebSocket: a protocol for the loop, a transport for what is above.

Rules.
- What is above is called only while both of the worker's BIOs are empty (see worker), so that it may
  write to any connection from wherever it is.
- Records without data, such as key updates, cost the turn what they cost the machine, and what is above
  judges how many there are.
- Our end is a close_notify and an end of file. What comes then is dropped as it is, up to the client's
  end of file. One that ends without a close_notify is counted.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from mpchat.tls.failures import LEFT
from mpchat.tls.shaking import Above, TlsHandshake
from mpchat.tls.stages import ENDED, OPEN, OVER, REFUSED, SHUT
from mpchat.tls.worker import MOST, TlsWorker
from mpchat.websocket.budget import READ, TLS_CONTROL, TLS_READ


class TlsProtocol(TlsHandshake):
    """One connection; ``descriptor`` is that of its socket, -1 if it has none."""

    __slots__ = ("_in_line", "_is_buffered", "_is_paused", "_is_reading")

    def __init__(self, worker: TlsWorker, above: Above, descriptor: int) -> None:
        super().__init__(worker, above, descriptor)
        self._is_reading = True
        # The socket is not read while what is above wants nothing, or while we stand in line for a turn;
        # nor while the handshake is queued or answers of OpenSSL's are unread.
        self._is_paused = self._in_line = False
        # What is above reads into buffers of its own.
        self._is_buffered = False

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._begin(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        # Who only looks whether the port is open has sent nothing.
        has_begun = self._kept or self._handshake_bytes
        self._end_handshake(LEFT if has_begun else None)
        self._enter_over()
        self._descriptor, self._is_behind = -1, True
        above, self._above = self._above, None
        if above is not None:
            above.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stage == OPEN:
            if self._turn.left <= 0 or self._is_paused or self._kept:
                self._keep(self._kept + data)
            else:
                self._receive_safely(data)
        elif self._stage < REFUSED:
            self._await_step(data)
        else:
            self._drop(len(data))

    def eof_received(self) -> bool:
        if self._stage == OPEN:
            self._worker.counters.tls_truncated += 1
            self._client_ended()
            return True
        if self._stage == SHUT:
            return bool(self._above.eof_received())
        return self._stage == ENDED

    def pause_writing(self) -> None:
        self._is_full = True
        if OPEN <= self._stage < OVER:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        self._is_full = self._is_unanswered = False
        if OPEN <= self._stage < OVER:
            self._above.resume_writing()
            self._set_reading()

    # Reading

    def _receive_safely(self, data: bytes) -> None:
        try:
            self._receive(data, 0)
        except BaseException:
            # The loop reports it.
            self._give_up()
            raise

    def _receive(self, data: bytes, start: int) -> None:
        """Decrypt what has come, and hand it on, as far as this may be done now."""
        worker, size = self._worker, len(data)
        while start < size:
            if self._stage != OPEN:
                self._drop(size - start)
                return
            if self._turn.left <= 0 or self._is_paused:
                self._keep(data[start:])
                return
            if self._is_buffered:
                start = self._receive_buffered(data, start)
                continue
            plain = worker.decrypt(self._tls, self._records, data, start)
            self._turn.left -= TLS_READ + worker.end - start
            start = worker.end
            if worker.is_plain:
                self._above.data_received(plain)
            else:
                self._hand_on(plain, 0, False)

    def _receive_buffered(self, data: bytes, start: int) -> int:
        """Decrypt into a buffer of what is above, if it is large enough; return where to go on."""
        worker = self._worker
        buffer = memoryview(self._above.get_buffer(MOST))
        is_large = len(buffer) >= MOST
        if not is_large:
            buffer = worker.scratch
        count = worker.decrypt_into(buffer, self._tls, self._records, data, start)
        end = worker.end
        self._turn.left -= TLS_READ + end - start
        if is_large:
            self._hand_on(b"", count, False)
        else:
            self._hand_on(buffer[:count], 0, False)
        return end

    def _hand_on(self, plain: bytes | memoryview, count: int, is_first: bool) -> None:
        """Hand on ``plain``, or ``count`` bytes that are where they belong, and what else was found."""
        worker = self._worker
        controls, has_ended, failure = worker.controls, worker.has_ended, worker.failure
        self._send_answer()
        if failure is not None:
            worker.counters.tls_broken += 1
            self._enter_over()
        elif has_ended:
            self._stage = ENDED
        above = self._above
        if is_first:
            above.connection_made(self)
            if self._fresh_seconds is not None:
                above.end_if_idle(self._fresh_seconds)
        if count:
            above.buffer_updated(count)
        elif plain:
            self._deliver(plain)
        if controls and self._above is not None:
            self._turn.charge(TLS_CONTROL * controls)
            self._above.controls_received(controls)
        if failure is not None:
            self._transport.close()
        elif has_ended and self._stage == ENDED:
            self._client_ended()

    def _deliver(self, plain: bytes | memoryview) -> None:
        view = memoryview(plain)
        # What is above may end the connection, or leave it to another, at any read.
        while view and self._stage != SHUT and not self._transport.is_closing():
            if not self._is_buffered:
                self._above.data_received(bytes(view))
                return
            buffer = self._above.get_buffer(len(view))
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            view = view[count:]
            self._above.buffer_updated(count)

    def _keep(self, data: bytes) -> None:
        """Read no more before this is fed."""
        self._kept = data
        if not self._is_paused:
            self._wait_in_line()
        self._set_reading()

    def _drop(self, size: int) -> None:
        """Forget what comes for nobody."""
        self._turn.charge(READ + size)
        if self._turn.left <= 0 and self._stage < OVER:
            self._wait_in_line()
            self._set_reading()

    def _wait_in_line(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._turn.line_up(self._turn.open_line, self, len(self._kept))

    def serve(self) -> None:
        """Go on with what was kept; the turn calls this."""
        self._in_line = False
        if self._kept and not self._is_paused:
            kept, self._kept = self._kept, b""
            self._receive_safely(kept)
        self._set_reading()

    def _client_ended(self) -> None:
        """The client sends nothing more, whether it has said so or not."""
        self._stage = ENDED
        if not self._above.eof_received():
            self.close()

    def _set_reading(self) -> None:
        """Read the socket unless something keeps us from it."""
        want = not (self.is_queued or self._in_line or self._is_unanswered)
        if self._stage >= OPEN:
            want = want and not (self._is_paused or self._kept)
        if want != self._is_reading and self._stage < OVER:
            self._is_reading = want
            if want:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # The transport's other methods for what is above

    def write_eof(self) -> None:
        """Send close_notify and our end of file; what still comes is dropped."""
        if self._stage in (OPEN, ENDED):
            self._notify()
            self._stage = SHUT
            self._tls = None
            self._kept = b""
            self._transport.write_eof()

    def close(self) -> None:
        """Send close_notify, and close when all is sent."""
        if self._stage < OVER:
            if self._stage in (OPEN, ENDED):
                self._notify()
            self._enter_over()
            self._transport.close()

    def is_closing(self) -> bool:
        return self._stage == OVER or bool(self._transport.is_closing())

    def is_reading(self) -> bool:
        return not self._is_paused and not self.is_closing()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._set_reading()

    def resume_reading(self) -> None:
        """Read on; what was kept comes in a later callback of the loop."""
        self._is_paused = False
        if self._kept:
            self._wait_in_line()
        self._set_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self._above)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's transports return, ``ssl_object`` and ``peercert`` while it is open."""
        if name == "ssl_object":
            return default if self._tls is None else self._tls
        if name == "peercert":
            return default if self._tls is None else self._tls.getpeercert()
        return self._transport.get_extra_info(name, default)

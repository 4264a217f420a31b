"""TLS between a socket and HTTP or a WebSocket: a protocol for the loop, a transport for what is above.

Rules.
- What is above is called only while both of the worker's BIOs are empty (see worker), so that it may
  write to any connection from wherever it is.
- Nothing is made for a client before its ClientHello is whole. Its handshake goes on in steps, for which
  it queues (see handshakes); the socket is not read meanwhile.
- Records without data, such as key updates, cost the turn what they cost the machine, and what is above
  judges how many there are. While a client leaves answers to them unread, it is not read.
- What is unsent is ciphertext in the socket's transport. While that has none, bytes go to the socket past
  it, as those of ``outgoing`` do.
- Our end is a close_notify and an end of file. What comes then is dropped as it is, up to the client's
  end of file. One that ends without a close_notify is counted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from ssl import SSLError
from typing import Any, Protocol, cast

from mpchat.tls.failures import (
    EXPIRED,
    FINITE_FIELD,
    GAVE_WAY,
    LATE,
    LEFT,
    NOT_TLS,
    PIECES,
    TOO_LONG,
    Failure,
    why,
)
from mpchat.tls.hello import TooManyPieces, asks_for_finite_field, read_hello
from mpchat.tls.records import PIECE, Records
from mpchat.tls.worker import MOST, TlsWorker
from mpchat.websocket.budget import READ, TLS_CONTROL, TLS_READ, TLS_WRITE
from mpchat.websocket.direct import write
from mpchat.websocket.turn import Turn

NEW, SHAKING, REFUSED, OPEN, ENDED, SHUT, OVER = range(7)
"""Stages: the ClientHello is not whole; the handshake has begun; it has failed, and the client may read
why; the connection is open; the client sends nothing more; nor do we; the socket is being closed."""

_HANDSHAKE = 0x16
"""The first byte of every TLS connection, the type of its first record."""
_HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")
"""The alert for a ClientHello with which OpenSSL has nothing to do."""
_LINGER = 2.0
"""Seconds for a client to close its side after a failed handshake."""
_BEYOND_LIMIT = 1.0
"""Seconds for the handshake of a client that is only to be told that there is no room."""
_HTTP = re.compile(rb"[A-Z]+( |\Z)")
"""How a request begins."""

Data = bytes | bytearray | memoryview


class Below(Protocol):
    """What has the socket before HTTP has."""

    def end_if_idle(self, fresh_seconds: float) -> None:
        """End it, unless its first request comes within the time."""

    def abort(self) -> None:
        """Cut the client off."""


class Above(Protocol):
    """What a connection carries: HTTP, and later perhaps a WebSocket in its place."""

    @property
    def admitted(self) -> bool:
        """Whether the listener's limits admit it; otherwise it is open only to be refused."""

    def comes_through(self, below: Below) -> None:
        """Take note of what has the socket until ``connection_made``."""

    def ended_below(self, reason: str, transport: asyncio.BaseTransport) -> None:
        """Take note that there will be no HTTP; ``connection_lost`` follows."""

    def refuse_plain(self) -> None:
        """Answer a client that does not speak TLS; ``connection_made`` comes before."""

    def connection_made(self, transport: asyncio.BaseTransport, /) -> None: ...
    def connection_lost(self, exc: Exception | None, /) -> None: ...


class TlsProtocol:
    """One connection; ``descriptor`` is that of its socket, -1 if it has none.

    Attributes:
        is_queued: Whether it wants the next step of its handshake.
    """

    __slots__ = (
        "_above",
        "_descriptor",
        "_fresh_seconds",
        "_handshake_bytes",
        "_in_line",
        "_is_behind",
        "_is_buffered",
        "_is_full",
        "_is_paused",
        "_is_reading",
        "_is_unanswered",
        "_kept",
        "_records",
        "_stage",
        "_tls",
        "_transport",
        "_turn",
        "_worker",
        "is_queued",
        "wheel_tick",
    )

    def __init__(self, worker: TlsWorker, above: Above, descriptor: int) -> None:
        self._worker = worker
        self._turn: Turn = worker.turn
        self._above: Any = above
        self._descriptor = descriptor
        self._transport: Any = None
        self._tls: Any = None
        self._records = Records()
        self._stage = NEW
        # Ciphertext that has come and is not fed yet.
        self._kept = b""
        # The transport may have bytes; one without a socket always gets them all.
        self._is_behind = True
        self._is_reading = True
        # What keeps the socket from being read: the queue of handshakes, what is above, the line for a
        # turn, and answers of OpenSSL's that are not read.
        self.is_queued = self._is_paused = self._in_line = self._is_unanswered = False
        # The transport wants no more at present.
        self._is_full = False
        # What is above reads into buffers of its own.
        self._is_buffered = False
        self._handshake_bytes = 0
        self._fresh_seconds: float | None = None
        self.wheel_tick = 0

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        worker, above = self._worker, self._above
        self._transport = transport
        above.comes_through(self)
        seconds = worker.handshake_timeout if above.admitted else _BEYOND_LIMIT
        worker.shared.wheel.set(self, seconds)

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

    # The handshake

    def _await_step(self, data: bytes) -> None:
        """Keep what has come until our step; before the ClientHello is whole there is none."""
        self._turn.charge(READ)
        kept = self._kept = self._kept + data
        if self._stage == NEW and kept[0] != _HANDSHAKE:
            self._refuse_plain(kept)
        elif not self.is_queued and (self._stage == SHAKING or self._may_begin(kept)):
            self.is_queued = True
            self._set_reading()
            self._worker.handshakes.line_up(self, has_begun=self._stage == SHAKING)

    def _may_begin(self, data: bytes) -> bool:
        """Whether a whole ClientHello has come, unless it is refused here."""
        try:
            hello = read_hello(data)
        except TooManyPieces:
            self._refuse_hello(PIECES)
            return False
        if hello and asks_for_finite_field(hello):
            self._refuse_hello(FINITE_FIELD)
            return False
        return hello is not None

    def _refuse_hello(self, failure: Failure) -> None:
        self._transport.write(_HANDSHAKE_FAILURE)
        self._refuse(failure)

    def _refuse_plain(self, data: bytes) -> None:
        """Have an HTTP client told that this port speaks TLS; others would not understand."""
        above, transport = self._above, self._transport
        is_http = _HTTP.match(data)
        # HTTP writes a line of its own.
        self._end_handshake(None if is_http else NOT_TLS)
        self._enter_over()
        if is_http:
            NOT_TLS.count(self._worker.counters)
            self._above = None
            transport.set_protocol(above)
            above.connection_made(transport)
            above.refuse_plain()
        else:
            transport.close()

    def step(self) -> None:
        """Take the next step of the handshake; ``handshakes`` calls this."""
        self.is_queued = False
        kept, self._kept = self._kept, b""
        try:
            if self._stage == NEW:
                self._stage = SHAKING
                self._tls = self._worker.begin()
            self._shake(kept)
        except BaseException:
            # The loop reports it.
            self._give_up()
            raise

    def _shake(self, data: bytes) -> None:
        worker = self._worker
        is_done = worker.shake(self._tls, self._records, data)
        plain = worker.decrypt_rest(self._tls) if is_done else b""
        end, failure = worker.end, worker.failure
        self._handshake_bytes += end
        is_valid = not is_done or worker.is_peer_valid(self._tls)
        if not is_valid:
            worker.notify(self._tls)
        self._send_answer()
        if not is_valid:
            self._refuse(EXPIRED)
        elif is_done:
            self._open(plain)
            self._receive(data, end)
        elif failure is not None:
            self._refuse(why(failure))
        elif self._handshake_bytes >= worker.max_handshake_bytes:
            self._refuse(TOO_LONG)
        elif end < len(data):
            self._kept = data[end:]
            self.is_queued = True
            worker.handshakes.line_up(self, has_begun=True)
        else:
            worker.handshakes.answered(self)
        self._set_reading()

    def _open(self, plain: bytes) -> None:
        """Begin with what is above, and with what came right behind the handshake."""
        worker = self._worker
        worker.counters.tls_handshakes += 1
        worker.counters.tls_resumed += self._tls.session_reused
        self._end_handshake(None)
        worker.shared.wheel.discard(self)
        self._stage = OPEN
        self._hand_on(plain, 0, True)

    def _refuse(self, failure: Failure) -> None:
        """End our side behind the alert, and let the client read it."""
        self._end_handshake(failure)
        self._tls = None
        self._kept = b""
        self._transport.write_eof()
        self._worker.shared.wheel.set(self, _LINGER)

    def _end_handshake(self, failure: Failure | None) -> None:
        """Count out a handshake, if it has not ended; None if it has not failed."""
        if self._stage >= REFUSED:
            return
        worker = self._worker
        self.is_queued = False
        if self._stage == SHAKING:
            worker.handshakes.ended(self)
        if failure is not None:
            failure.count(worker.counters)
            worker.turn.touch()
            self._above.ended_below(failure.text, self._transport)
        self._stage = REFUSED

    def give_way(self) -> None:
        """End the handshake in favour of another; ``handshakes`` calls this."""
        self._worker.shared.count_limit("listener.tls.handshakes")
        self._end_handshake(GAVE_WAY)
        self.abort()

    def expire(self) -> None:
        """End a handshake that takes too long, or a failed one whose client stays: see the wheel."""
        if self._stage < REFUSED:
            self._worker.shared.count_limit("handshake-timeout")
            self._end_handshake(LATE)
        self.abort()

    def end_if_idle(self, fresh_seconds: float) -> None:
        """End it, unless the handshake and the first request come within the time."""
        if fresh_seconds and self._stage < REFUSED:
            self._fresh_seconds = fresh_seconds
            self._worker.shared.wheel.set(self, fresh_seconds)
        else:
            self.abort()

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

    # Sending

    def _send_answer(self) -> None:
        """Send what OpenSSL has to say by itself."""
        answer = self._worker.take_answer()
        if answer:
            self._send(answer)
            if self._is_full and self._stage >= OPEN:
                self._is_unanswered = True
                self._set_reading()

    def _send(self, data: bytes) -> None:
        """Send ciphertext."""
        rest = self._send_past(data)
        if rest:
            self._transport.write(rest)

    def _send_past(self, data: bytes) -> bytes:
        """Give ciphertext to the system, past the transport; return what that has to get."""
        if self._is_behind:
            self._is_behind = self._descriptor < 0 or self._transport.get_write_buffer_size() > 0
        if self._is_behind:
            return data
        taken = write(self._descriptor, data)
        if taken == len(data):
            return b""
        self._is_behind = True
        return data[taken:]

    def _give_up(self) -> None:
        """An error that nobody expects: leave nothing of this connection for others."""
        self._worker.forget()
        if self._above is not None:
            self.abort()

    def _enter_over(self) -> None:
        self._worker.shared.wheel.discard(self)
        self._stage = OVER
        self._tls = None
        self._kept = b""

    # The transport for what is above

    def write(self, data: Data) -> None:
        """Encrypt and send.

        Raises:
            RuntimeError: After ``write_eof``.
        """
        if len(data) > PIECE:
            self.writelines([data])
        elif data and self._may_write():
            self._turn.left -= TLS_WRITE + len(data)
            try:
                encrypted = self._worker.encrypt(self._tls, data)
            except BaseException as error:
                self._give_up()
                if isinstance(error, SSLError):
                    return
                raise
            self._send(encrypted)

    def writelines(self, parts: Sequence[Data]) -> None:
        """Encrypt these, one behind the other, and send them; see ``write``."""
        if sum(map(len, parts)) <= PIECE:
            self.write(b"".join(parts))
        elif self._may_write():
            try:
                encrypted = self._worker.encrypt_parts(self._tls, parts)
            except BaseException as error:
                self._give_up()
                if isinstance(error, SSLError):
                    return
                raise
            self._turn.left -= TLS_WRITE + sum(map(len, encrypted))
            self._send_parts(encrypted)

    def _send_parts(self, parts: list[bytes]) -> None:
        """Send ciphertext of any length; what the system does not take goes to the transport in one."""
        for index, part in enumerate(parts):
            rest = self._send_past(part)
            if rest:
                self._transport.writelines([rest, *parts[index + 1 :]])
                return

    def _may_write(self) -> bool:
        if self._stage == SHUT:
            raise RuntimeError("cannot write after write_eof")
        return self._stage in (OPEN, ENDED)

    def get_write_buffer_size(self) -> int:
        return int(self._transport.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return cast(tuple[int, int], self._transport.get_write_buffer_limits())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high=high, low=low)

    def can_write_eof(self) -> bool:
        return True

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

    def _notify(self) -> None:
        self._worker.notify(self._tls)
        self._send_answer()

    def abort(self) -> None:
        """Close at once; what is unsent is lost."""
        self._end_handshake(None)
        self._enter_over()
        self._transport.abort()

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

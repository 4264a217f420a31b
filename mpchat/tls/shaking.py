"""A TLS connection until its handshake is done: what comes first, whose step it is, and how it fails.

Rules. Nothing is made for a client before its ClientHello is whole. Its handshake goes on in steps, for
which it queues (see handshakes); the socket is not read meanwhile. Who fails is told by an alert, and may
read it; who does not speak TLS is told by HTTP, or nothing.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol

from mpchat.tls.failures import (
    EXPIRED,
    FINITE_FIELD,
    GAVE_WAY,
    LATE,
    NOT_TLS,
    PIECES,
    TOO_LONG,
    Failure,
    why,
)
from mpchat.tls.hello import TooManyPieces, asks_for_finite_field, read_hello
from mpchat.tls.outlet import TlsOutlet
from mpchat.tls.records import Records
from mpchat.tls.stages import NEW, OPEN, OVER, REFUSED, SHAKING
from mpchat.tls.worker import TlsWorker
from mpchat.websocket.budget import READ

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


class TlsHandshake(TlsOutlet):
    """One connection, and its way to be open.

    Attributes:
        is_queued: Whether it wants the next step of its handshake.
    """

    __slots__ = (
        "_above",
        "_fresh_seconds",
        "_handshake_bytes",
        "_kept",
        "_records",
        "is_queued",
        "wheel_tick",
    )

    def __init__(self, worker: TlsWorker, above: Above, descriptor: int) -> None:
        super().__init__(worker, descriptor)
        self._above: Any = above
        self._records = Records()
        # Ciphertext that has come and is not fed yet.
        self._kept = b""
        self._handshake_bytes = 0
        self._fresh_seconds: float | None = None
        self.is_queued = False
        self.wheel_tick = 0

    # What is left to the reading half

    def _hand_on(self, plain: bytes | memoryview, count: int, is_first: bool) -> None:
        """Hand on what was decrypted; the first time, begin with what is above."""
        raise NotImplementedError

    def _receive(self, data: bytes, start: int) -> None:
        """Decrypt what has come, and hand it on."""
        raise NotImplementedError

    # The steps

    def _begin(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the ClientHello."""
        worker, above = self._worker, self._above
        self._transport = transport
        above.comes_through(self)
        seconds = worker.handshake_timeout if above.admitted else _BEYOND_LIMIT
        worker.shared.wheel.set(self, seconds)

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

    def _enter_over(self) -> None:
        self._worker.shared.wheel.discard(self)
        self._stage = OVER
        self._tls = None
        self._kept = b""

    def abort(self) -> None:
        """Close at once; what is unsent is lost."""
        self._end_handshake(None)
        self._enter_over()
        self._transport.abort()

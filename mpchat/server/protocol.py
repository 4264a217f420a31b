"""A client's socket until it is a WebSocket: from bytes to requests, in order and in time.

Rules. A request waits until the one before is answered, and every request waits in line for its turn (see
websocket/turn). After ``Connection: close`` the socket is half-closed and read to its end, since closing
at once would lose the response for a client that still sends; a client that has half-closed its own side
first gets all its answers (RFC 9112, 9.6). ``intake`` says what a request is, ``exchange`` answers it,
``stages`` says what the socket is doing, ``waits`` how long it waits for the client.
"""

from __future__ import annotations

import asyncio
import enum
import re
from http import HTTPStatus
from typing import Any, cast

from mpchat.http.body import too_large
from mpchat.http.errors import HttpError, bad_request
from mpchat.http.head import Head
from mpchat.http.responses import refusal, serialise
from mpchat.server.exchange import Exchange
from mpchat.server.inspection import InFlight
from mpchat.server.intake import Intake
from mpchat.server.registry import Registry
from mpchat.server.services import ClientServices
from mpchat.server.stages import (
    ACCEPTED,
    ANSWERING,
    BLOCKED,
    BODY,
    FRESH,
    GONE,
    HEAD,
    IDLE,
    LINGERING,
    NEXT,
    TIMEOUTS,
    End,
    Stage,
)
from mpchat.server.waits import Waits
from mpchat.tls.shaking import Below
from mpchat.websocket.budget import CHUNKS, READ, REQUEST

_HELLO = re.compile(rb"\x16\x03[\x00-\x04]..\x01", re.DOTALL)
"""How a client that speaks TLS begins: a record with a ClientHello (RFC 8446, 5.1)."""
_NO_TLS = bytes.fromhex("15 0301 0002 02 46")
"""The answer that it understands: the alert protocol_version."""
_PER_TURN = 16
"""Requests of one client that are answered in a row."""
_WITHOUT_TRANSPORT = (ACCEPTED, GONE)
_PARSING = (HEAD, BODY)


class _Line(enum.Enum):
    """The client's place in the line for a turn of the loop."""

    OUT = enum.auto()
    WAITING = enum.auto()
    OVERDUE = enum.auto()
    """Waiting, and the time for its head has run out"""


_OUT, _WAITING, _OVERDUE = _Line


class HttpProtocol(asyncio.Protocol):
    """One client socket before, or without, an upgrade.

    Attributes:
        began: When the first byte of the request came that is arriving, or is answered.
        admitted: Whether the listener's limits admit it; otherwise it is closed with its first answer.
        client: The peer, known from FRESH on.
        descriptor: Of the socket, which its transport will close; -1 where all has to pass the transport.
        in_flight: The request that a handler works on.
        stage: What the socket is doing.
    """

    def __init__(
        self, services: ClientServices, registry: Registry, address: Any, descriptor: int
    ) -> None:
        self.stage: Stage = ACCEPTED
        self._turn = services.shared.turn
        self._services = services
        self._registry = registry
        self._accepted_from = address
        self.descriptor = descriptor
        self.began = 0.0
        self._intake = Intake(services.head_limits)
        self._task: asyncio.Task[None] | None = None
        self.in_flight: InFlight | None = None
        self._line: _Line = _OUT
        self._is_full = False
        """The client does not read its answers"""
        self._has_ended = False
        """The client has half-closed its side"""
        self._below: Below | None = None
        """What has the socket before we have its transport"""
        self._controls = 0
        self.admitted = registry.enter(self)

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun, not even with empty lines before it."""
        return self._task is None and self.stage < LINGERING and self._intake.stage is IDLE

    @property
    def is_gone(self) -> bool:
        return self.stage is GONE

    @property
    def transport(self) -> asyncio.Transport:
        """What the client is written to, from FRESH on."""
        return self._transport

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)
        services = self._services
        # Read now, since a closed socket has no name.
        name = self._accepted_from or transport.get_extra_info("peername")
        self.client = services.admission.client(name)
        self._waits = Waits(
            self._transport,
            services.shared,
            services.times,
            self._too_late,
            admitted=self.admitted,
        )
        self._below = None
        self._enter(FRESH)
        self._waits.begin(FRESH)

    def connection_lost(self, exc: Exception | None) -> None:
        # A layer below HTTP may fail before there is a transport for HTTP.
        if self.stage is not ACCEPTED:
            self._waits.forget()
        self._enter(GONE)
        self._below = None
        self._services.bodies.gone(self)
        self._registry.leave(self)
        if self._task is not None:
            self._task.cancel()

    def comes_through(self, below: Below) -> None:
        """Take note of what has the socket until ``connection_made``, as TLS has."""
        self._below = below

    def ended_below(self, reason: str, transport: asyncio.BaseTransport) -> None:
        """Write the line of a socket that gets no HTTP; ``connection_lost`` follows."""
        services = self._services
        name = self._accepted_from or transport.get_extra_info("peername")
        client = services.admission.client(name)
        services.access.closed_early(reason, client, next(services.ids))

    def refuse_plain(self) -> None:
        """Answer a client that should have spoken TLS."""
        self._refuse(bad_request("this port speaks TLS: use https:// or wss://"))

    def controls_received(self, count: int) -> None:
        """Cut off a client that sends record after record of TLS without data."""
        self._controls += count
        if self._controls > self._services.shared.thresholds.max_tls_controls:
            self._services.shared.count_limit("max-control-frames-per-second")
            self.abort()

    def data_received(self, data: bytes) -> None:
        turn = self._turn
        is_spent = turn.left <= 0
        turn.charge(READ + len(data))
        if self.stage >= LINGERING:
            if is_spent:
                self._wait_in_line()
            return
        if not self._intake:
            if self.stage is FRESH and _HELLO.match(data):
                self._refuse(bad_request("TLS on a port without it"), _NO_TLS)
                return
            self.began = self._services.shared.clock()
        self._intake.feed(data)
        if self._task is not None:
            if self._intake.is_full:
                self._transport.pause_reading()
        elif is_spent:
            self._wait_in_line()
        else:
            self._serve()

    def eof_received(self) -> bool:
        if self.stage >= LINGERING:
            return False
        self._has_ended = True
        self._await_client()
        # Keep the transport open: we close it when everything is answered.
        return True

    def pause_writing(self) -> None:
        """The client does not read: its next requests must wait."""
        self._is_full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._task is None and self.stage < LINGERING and self._line is _OUT:
            self._go_on()

    def end_if_idle(self, fresh_seconds: float) -> None:
        """End a connection without a request; a new client may send its first one within the time."""
        if self._below is not None:
            self._below.end_if_idle(fresh_seconds)
        if self.stage is ACCEPTED or not self.is_idle:
            return
        if self.stage is FRESH and fresh_seconds:
            self._waits.begin(FRESH, fresh_seconds)
        else:
            self._half_close()

    def abort(self) -> None:
        """Cut the client off."""
        if self._below is not None:
            self._below.abort()
        elif self.stage is not ACCEPTED:
            self._transport.abort()

    def stop_reading(self) -> None:
        """Line up: the worker holds too many bytes that it has read."""
        self._wait_in_line()

    def serve(self) -> None:
        """Continue with the client's requests; the turn calls this."""
        is_overdue, self._line = self._line is _OVERDUE, _OUT
        if self.stage is GONE:
            return
        is_answered = self._task is None and self._go_on()
        if is_overdue and not is_answered and self._waits.stage is HEAD:
            # Its time ran out in the line, and the head is still not whole.
            self._too_late(HEAD)
        if self._turn.is_full:
            self._wait_in_line()

    def respond(self, data: bytes, *, close: bool) -> None:
        """Send an answer, and close our side if it is the last one."""
        if self._transport.is_closing():
            return
        self._turn.touch()
        self._transport.write(data)
        if close:
            self._half_close()

    def refuse_body(self) -> None:
        """Refuse the request whose body is arriving: the worker holds too many bytes of bodies."""
        self._refuse(_no_room())

    def task_done(self) -> None:
        """Serve the requests that came while a task answered one."""
        self._task = self.in_flight = None
        self._go_on()

    def release(self) -> tuple[asyncio.Transport, bytes, bool]:
        """Give the transport to a WebSocket, with the rest of the bytes; see Requester."""
        self._enter(GONE)
        self._waits.forget()
        return self._transport, self._intake.take_rest(), self._has_ended

    def _enter(self, stage: Stage) -> None:
        if stage is not self.stage:
            if stage not in NEXT[self.stage]:
                raise RuntimeError(f"a client's socket cannot go from {self.stage!r} to {stage!r}")
            change = (stage in _PARSING) - (self.stage in _PARSING)
            if change:
                self._services.shared.counters.parsing += change
            self.stage = stage

    def _serve(self) -> bool:
        """Answer requests until one is incomplete or needs a task, or another client's turn has come.

        Returns whether a whole request was found.
        """
        turn = self._turn
        is_found = False
        for _ in range(_PER_TURN):
            if self._task is not None or self.stage >= LINGERING or self._is_full:
                break
            if self._transport.is_closing():
                # Its end, which is to come, would cancel a task before the first step.
                break
            if turn.left <= 0:
                self._let_others()
                break
            try:
                request = self._intake.next(self._admit)
            except HttpError as error:
                self._refuse(error)
                break
            if request is None:
                if self._intake.head is not None:
                    self._services.bodies.arriving(self, self._intake.body_size)
                if self._intake.is_behind:
                    turn.charge(CHUNKS)
                    continue
                break
            is_found = True
            if self._line is _OVERDUE:
                self._line = _WAITING
            self._enter(ANSWERING)
            self._waits.end()
            turn.charge(REQUEST)
            self._begin(*request)
            if turn.new_line:
                self._let_others()
                break
        else:
            self._let_others()
        self._await_client()
        return is_found

    def _begin(self, head: Head, body: bytes) -> None:
        """Answer a request: in a task if the handler's code must run, else at once."""
        exchange = Exchange(self._services, self._registry, self, head)
        if body and not self._services.bodies.whole(self, len(body)):
            exchange.refuse(_no_room())
            return
        work = exchange.begin(body)
        if work is not None:
            self.in_flight = InFlight(head.raw, body, self._services.shared.clock())
            self._task = self._services.loop.create_task(work)
        elif body:
            self._services.bodies.gone(self)

    def _go_on(self) -> bool:
        """Serve, and read on unless a request is left: reading must not overtake answering."""
        is_found = self._serve()
        transport = self._transport
        if self.stage is GONE or self._has_ended or transport.is_closing():
            return is_found
        if self._task is None and self._line is _OUT and not self._is_full:
            transport.resume_reading()
        return is_found

    def _await_client(self) -> None:
        """Enter the stage in which the client's next step is awaited, unless there is work to do."""
        if self._task is not None or self.stage >= LINGERING or self._line is not _OUT:
            return
        if self._transport.is_closing():
            return
        stage = self._intake.stage
        if self._is_full:
            stage = BLOCKED
        elif self._has_ended:
            if stage is IDLE:
                self._half_close()
            else:
                # RFC 9112, 8.
                self._refuse(bad_request("the request ended too early"))
            return
        elif stage is IDLE and self.stage is FRESH:
            stage = FRESH
        self._enter(stage)
        if self._waits.stage is not stage:
            self._waits.begin(stage)
        elif stage is BODY:
            self._waits.go_on()

    def _let_others(self) -> None:
        """Leave the rest of the client's requests to a later turn."""
        if self._task is None and self.stage < LINGERING and self._intake:
            self._wait_in_line()

    def _wait_in_line(self) -> None:
        """Line up for a call of ``serve``, and do not read until then."""
        if self._line is not _OUT or self.stage in _WITHOUT_TRANSPORT:
            return
        self._line = _WAITING
        if not self._transport.is_closing():
            self._transport.pause_reading()
        turn = self._turn
        turn.line_up(turn.new_line, self, len(self._intake))

    def _admit(self, head: Head) -> int:
        """Return the most bytes that the body of a request may have, and ask for it if need be.

        Raises:
            HttpError: The request is refused, or announces more.
        """
        most = Exchange(self._services, self._registry, self, head).largest_body()
        length = head.body_length
        if length is not None and length > most:
            raise too_large()
        # A request without a body gets 100 only before 101 (RFC 9110, 7.8 and 10.1.1).
        if head.expects_continue and (length != 0 or head.upgrade):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return most

    def _refuse(self, error: HttpError, answer: bytes | None = None) -> None:
        """Answer what is no whole request, by default with what the error says, and close."""
        services = self._services
        head = self._intake.head
        if head is not None:
            Exchange(services, self._registry, self, head).refuse(error)
            return
        services.shared.counters.requests += 1
        services.admission.answered(None, error.status)
        services.access.refused(error, self.client, next(services.ids))
        if answer is not None:
            self.respond(answer, close=True)
            return
        more = services.stop_headers(refusing=self._registry.refusing)
        date = services.dates.now()
        data = serialise(refusal(error), date, close=True, head_only=False, more=more)
        self.respond(data, close=True)

    def _half_close(self) -> None:
        if self.stage >= LINGERING:
            return
        self._enter(LINGERING)
        self._intake.clear()
        self._services.bodies.gone(self)
        if self._has_ended:
            # Closes after the pending bytes are written.
            self._transport.close()
        else:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._transport.resume_reading()
        self._waits.begin(LINGERING)

    def _too_late(self, stage: Stage) -> None:
        """End a wait whose event did not come in time."""
        if self._line is not _OUT and stage is not LINGERING:
            # It may have come: this client waits for its turn, unread.
            if stage is HEAD:
                self._line = _OVERDUE
            return
        timeout = TIMEOUTS[stage]
        if timeout.limit is not None:
            self._services.shared.count_limit(timeout.limit)
        match timeout.end:
            case End.ABORT:
                self.abort()
            case End.REFUSE:
                text = "the request did not arrive in time"
                self._refuse(HttpError(HTTPStatus.REQUEST_TIMEOUT, text))
            case End.HALF_CLOSE:
                self._half_close()


def _no_room() -> HttpError:
    text = "this worker holds as many bytes of request bodies as it may"
    return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, text)

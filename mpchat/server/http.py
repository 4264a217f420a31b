"""A client's socket until it becomes a WebSocket: request heads, plain responses, the handshake.

Rules. One head at a time, under a limit of size and one of time that no trickle stretches. Requests that
come early wait until the one before is answered. Whatever ends with ``Connection: close`` is half-closed
and read to its end, since closing at once would take the response from a client that still sends.
What a request has to be is decided by head, target, framing and upgrade.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from mpchat.components.handler_base import HandlerBase, response
from mpchat.logs.connection import CONNECTION
from mpchat.server.errors import HttpError
from mpchat.server.head import Head, find_end, parse_head
from mpchat.server.upgrade import check_handshake, check_origin
from mpchat.websocket.context import Context
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.protocol import WebSocketProtocol

if TYPE_CHECKING:
    from mpchat.server.server import Server

log = logging.getLogger("mpchat.server")
_SILENT = logging.getLogger("mpchat.websocket.control")
_LINGER = 2.0
"""Seconds that a client has to read the last response and to end its side."""


class HttpProtocol(asyncio.Protocol):
    """One client socket before, or without, an upgrade."""

    def __init__(self, server: Server, *, admitted: bool) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self._admitted = admitted
        self._data = bytearray()
        self._head: Head | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._has_begun = False
        self._is_full = False
        self._is_fresh = True
        self._is_lost = False
        self.wheel_tick = 0

    @property
    def idle(self) -> bool:
        """Whether no request has begun, not even with empty lines before it."""
        return self._task is None and not self._has_begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class.
        self.transport = cast(asyncio.Transport, transport)
        self.server.waiting.add(self)
        self._expire_in(self.server.options.handshake_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self.server.shared.wheel.discard(self)
        self.server.waiting.discard(self)
        self.server.socket_closed()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._is_fresh = False
        if self.idle:
            # From its first byte on; those that follow do not stretch it.
            self._has_begun = True
            self._expire_in(self.server.options.handshake_timeout)
        self._data += data
        if self._task is None:
            self._next_request()
        elif len(self._data) > self.server.head_limits.head and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        if self._task is None and not self.idle and not self._closing:
            # RFC 9112, 8.
            self._refuse(HttpError(HTTPStatus.BAD_REQUEST, "the request ended too early"))

    def pause_writing(self) -> None:
        """The client does not read: what it asks for next has to wait."""
        self._is_full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._task is None and not self._closing and self.transport is not None:
            self._next_request()
            if self._task is None:
                self.transport.resume_reading()

    def end_if_idle(self, fresh_seconds: float) -> None:
        """The worker ends: a connection without a request ends; a new one may send its first, soon."""
        if not self.idle:
            return
        if self._is_fresh and fresh_seconds:
            self._expire_in(fresh_seconds)
        else:
            self._half_close()

    def abort(self) -> None:
        """The deadline has come."""
        if self.transport is not None:
            self.transport.abort()

    def _next_request(self) -> None:
        if self._is_full:
            return
        try:
            head = self._head = self._head or self._read_head()
        except HttpError as error:
            self._refuse(error)
            return
        if head is None or len(self._data) < head.body_length:
            return
        body = bytes(self._data[: head.body_length])
        del self._data[: head.body_length]
        self._head = None
        self.server.shared.wheel.discard(self)
        self._task = asyncio.get_running_loop().create_task(self._answer(head, body))

    def _read_head(self) -> Head | None:
        # RFC 9112, 2.2: empty lines before a request are to be tolerated.
        while self._data.startswith(b"\r\n"):
            del self._data[:2]
        end = find_end(self._data, self.server.head_limits)
        if end < 0:
            return None
        head = parse_head(bytes(self._data[:end]), self.server.head_limits)
        del self._data[:end]
        # Without a body only before 101 (RFC 9110, 7.8 and 10.1.1).
        expected = head.expects_continue and (head.body_length or head.upgrade)
        if expected and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    async def _answer(self, head: Head, body: bytes) -> None:
        server = self.server
        request = head.request
        context = Context(server.next_id(), server.stopping, {}, server.snapshot, body)
        # The handler's task is made in this one and inherits it, as do tasks and threads that it starts.
        CONNECTION.set(context.id)
        handler: HandlerBase | None = None
        keep = head.keep_alive
        try:
            route = server.routes.find(request.method, request.path)
            handler = route.handler
            context.path_params = route.params
            self._check_admission()
            if head.upgrade and isinstance(handler, WebsocketHandlerBase):
                judged = check_handshake(request.headers)
                authority = route.authority or request.headers["Host"]
                check_origin(request.headers, authority, handler.options.allowed_origins)
                await self._upgrade(handler, request, judged, context)
                return
            answer = await handler.handle_non_websocket_request(request, context)
        except HttpError as error:
            answer = _refusal(error)
            keep = keep and error.status != HTTPStatus.BAD_REQUEST
        except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:
            # A client that has left cancels us; any other end is the handler's own.
            if isinstance(error, asyncio.CancelledError) and self._is_lost:
                raise
            logger = handler.logger if handler is not None else log
            logger.exception("the handler failed")
            answer = response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error\n")
        server.shared.counters.requests += 1
        server.access.request(handler, request, answer.status_code, self._peer())
        close = not keep or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        # What follows a handshake may be frames, which must not be read as a request.
        close = close or head.upgrade or server.ending is not None
        self._respond(answer, close=close, head_only=request.method == "HEAD")
        self._task = None
        if not self._closing:
            self._expire_in(self.server.options.listener.connection.keepalive_timeout)
            self._has_begun = bool(self._data)
            if self._has_begun:
                self._expire_in(self.server.options.handshake_timeout)
            self._next_request()
            # Not before there is no request left: reading would overtake answering.
            if self._task is None and not (self._closing or self._is_full) and self.transport:
                self.transport.resume_reading()

    def _check_admission(self) -> None:
        if not self._admitted or self.server.refusing:
            self.server.shared.counters.refused += 1
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "the service is full or stopping")

    async def _upgrade(
        self, handler: WebsocketHandlerBase, request: Request, judged: Headers, context: Context
    ) -> None:
        server, address = self.server, self._address()
        reason = server.admission.admit(handler, address)
        if reason is not None:
            server.shared.counters.refused += 1
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        upgraded = False
        try:
            upgraded = await self._shake_hands(handler, request, judged, context)
        finally:
            if not upgraded:
                server.admission.release(handler, address)

    async def _shake_hands(
        self, handler: WebsocketHandlerBase, request: Request, judged: Headers, context: Context
    ) -> bool:
        """Answer a handshake; return whether the connection is a WebSocket now."""
        server = self.server
        subprotocols = [Subprotocol(name) for name in handler.options.subprotocols]
        handshake = ServerProtocol(subprotocols=subprotocols or None, logger=_SILENT)
        answer = handshake.accept(Request(request.path, judged, request.method))
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            answer = await self._ask(handler, request, context) or answer
        for name, value in context.response_headers:
            answer.headers[name] = value
        server.access.request(handler, request, answer.status_code, self._peer())
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._respond(answer, close=True, head_only=request.method == "HEAD")
            return False
        transport.write(answer.serialize())
        protocol = WebSocketProtocol(
            transport,
            server.shared,
            handler,
            request,
            context,
            handshake.subprotocol,
            server.ended,
        )
        server.waiting.discard(self)
        server.connections.add(protocol)
        transport.set_protocol(protocol)
        transport.resume_reading()
        protocol.start(bytes(self._data))
        self._data.clear()
        if server.ending is not None:
            protocol.drain(server.ending)
        return True

    @staticmethod
    async def _ask(
        handler: WebsocketHandlerBase, request: Request, context: Context
    ) -> Response | None:
        try:
            async with asyncio.timeout(handler.options.handshake_timeout):
                return await handler.handle_handshake(request, context)
        except TimeoutError:
            text = "handle_handshake took longer than handshake-timeout"
            handler.logger.exception(text)
            return response(HTTPStatus.GATEWAY_TIMEOUT, "the service took too long to decide\n")

    def _peer(self) -> Any:
        return self.transport.get_extra_info("peername") if self.transport is not None else None

    def _address(self) -> str | None:
        peer = self._peer()
        return peer[0] if isinstance(peer, tuple) else None

    def _refuse(self, error: HttpError) -> None:
        self.server.shared.counters.requests += 1
        self.server.access.refused(error, self._peer(), self.server.next_id())
        self._respond(_refusal(error), close=True, head_only=False)

    def _respond(self, answer: Response, *, close: bool, head_only: bool) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        # RFC 9110, 15.3.5 and 15.4.5: these have neither body nor length.
        bodiless = answer.status_code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        body = b"" if bodiless else bytes(answer.body or b"")
        headers = Headers(answer.headers.raw_items())
        headers.setdefault("Date", email.utils.formatdate(usegmt=True))
        if not bodiless:
            headers.setdefault("Content-Length", str(len(body)))
        if close and "Connection" not in headers:
            headers["Connection"] = "close"
        answer = Response(answer.status_code, answer.reason_phrase, headers, b"")
        self.server.shared.turn.touch()
        transport.write(answer.serialize() + (b"" if head_only else body))
        if close:
            self._half_close()

    def _half_close(self) -> None:
        transport = self.transport
        if self._closing or transport is None:
            return
        self._closing = True
        self._data.clear()
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self._expire_in(_LINGER)

    def _expire_in(self, seconds: float) -> None:
        self.server.shared.wheel.set(self, seconds)

    def expire(self) -> None:
        """What the wheel calls when the client took too long."""
        if self._closing:
            self.abort()
        elif not self.idle:
            text = "the request did not arrive in time"
            self._refuse(HttpError(HTTPStatus.REQUEST_TIMEOUT, text))
        else:
            self._half_close()


def _refusal(error: HttpError) -> Response:
    answer = response(error.status, error.text + "\n")
    answer.headers.update(error.headers)
    return answer

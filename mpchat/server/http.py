"""A client's socket until it becomes a WebSocket: request heads, plain responses, the handshake.

Rules. One head at a time, under limits of size and time. A request waits until the one before is
answered, and every request waits in line for its turn (see websocket/turn). After ``Connection: close``
the socket is half-closed and read to its end, since closing at once would lose the response for a client
that still sends; a client that has half-closed its own side first gets all its answers (RFC 9112, 9.6). A
socket beyond a limit is closed with its first answer. head, target, framing and upgrade decide what a
request must be; waits decides how long to wait for a client.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from websockets.http11 import Response

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.http.errors import HttpError
from mpchat.http.framing import split_list
from mpchat.http.head import Head, find_end, parse_head
from mpchat.http.responses import refusal, response, serialise, switching
from mpchat.http.upgrade import check_handshake, check_size
from mpchat.logs.connection import CONNECTION
from mpchat.server.waits import Wait, Waits
from mpchat.websocket.budget import HANDSHAKE, READ, REQUEST
from mpchat.websocket.client import client_of
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import Agreed, agree
from mpchat.websocket.origins import check_origin
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.task import start

if TYPE_CHECKING:
    from mpchat.server.server import Server

_PER_TURN = 16
"""Requests of one client that are answered in a row."""
_LIMITS = {
    Wait.FIRST: "handshake-timeout",
    Wait.HEAD: "handshake-timeout",
    Wait.BODY: "body-timeout",
}
"""The limits that end these waits, by their counters."""
_INCOMPLETE = frozenset((Wait.HEAD, Wait.BODY))


class HttpProtocol(asyncio.Protocol):
    """One client socket before, or without, an upgrade."""

    def __init__(self, server: Server, address: Any, *, admitted: bool) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self._admitted = admitted
        self._accepted_from = address
        self._data = bytearray()
        self._seen = 0
        self._head: Head | None = None
        self._task: asyncio.Task[None] | None = None
        # Half-closed, or a WebSocket now.
        self._is_over = False
        self._has_begun = False
        self._is_full = False
        self._is_fresh = True
        self._is_lost = False
        self._has_ended = False
        """The client has half-closed its side"""
        self._in_line = False
        self._is_overdue = False

    @property
    def idle(self) -> bool:
        """Whether no request has begun, not even with empty lines before it."""
        return self._task is None and not self._has_begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class.
        self.transport = cast(asyncio.Transport, transport)
        # Read now, since a closed socket has no name.
        name = self._accepted_from or transport.get_extra_info("peername")
        self.client = client_of(name, self.server.options.listener.ipv6_prefix)
        server = self.server
        server.waiting.add(self)
        self._waits = Waits(
            self.transport, server.shared, server.options, self._too_late, admitted=self._admitted
        )
        self._waits.begin(Wait.FIRST)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._waits.forget()
        self.server.end_waiting(self)
        self.server.socket_closed()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        turn = self.server.shared.turn
        is_spent = turn.left <= 0
        turn.charge(READ + len(data))
        if self._is_over:
            if is_spent:
                self._wait_in_line()
            return
        self._is_fresh = False
        self._has_begun = True
        self._data += data
        if self._task is None and is_spent:
            self._wait_in_line()
        elif self._task is None:
            self._serve()
        elif len(self._data) > self.server.head_limits.head and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        if self._is_over:
            return False
        self._has_ended = True
        self._await_client()
        # Keep the transport open: we close it when everything is answered.
        return True

    def pause_writing(self) -> None:
        """The client does not read: its next requests must wait."""
        self._is_full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._task is None and not (self._is_over or self._in_line):
            self._go_on()

    def end_if_idle(self, fresh_seconds: float) -> None:
        """End a connection without a request; a new client may send its first one within the time."""
        if not self.idle:
            return
        if self._is_fresh and fresh_seconds:
            self._waits.begin(Wait.FIRST, fresh_seconds)
        else:
            self._half_close()

    def abort(self) -> None:
        """Cut the client off."""
        if self.transport is not None:
            self.transport.abort()

    def _serve(self) -> None:
        """Answer requests until one is incomplete or needs a task, or another client's turn has come."""
        turn = self.server.shared.turn
        for _ in range(_PER_TURN):
            if self._task is not None or self._is_over or self._is_full:
                break
            if turn.left <= 0:
                self._let_others()
                break
            try:
                head = self._head = self._head or self._read_head()
            except HttpError as error:
                self._refuse(error)
                break
            if head is None or len(self._data) < head.body_length:
                break
            body = bytes(self._data[: head.body_length])
            del self._data[: head.body_length]
            self._head = None
            self._waits.end()
            self._is_overdue = False
            turn.charge(REQUEST)
            self._begin(head, body)
            if turn.new_line:
                self._let_others()
                break
        else:
            self._let_others()
        self._await_client()

    def _await_client(self) -> None:
        """Start the wait for the client's next step, if there is one."""
        if self._task is not None or self._is_over or self._in_line:
            return
        if self._is_full:
            wait = Wait.READER
        elif self._has_ended:
            if self._has_begun:
                # RFC 9112, 8.
                self._refuse(HttpError(HTTPStatus.BAD_REQUEST, "the request ended too early"))
            else:
                self._half_close()
            return
        elif self._head is not None:
            wait = Wait.BODY
        else:
            wait = Wait.HEAD if self._has_begun else Wait.NEXT
        if self._waits.kind is not wait:
            self._waits.begin(wait)
        elif wait is Wait.BODY:
            self._waits.go_on()

    def _let_others(self) -> None:
        """Leave the rest of the client's requests to a later turn."""
        if self._task is None and not self._is_over and self._data:
            self._wait_in_line()

    def _wait_in_line(self) -> None:
        """Line up for a call of ``serve``, and do not read until then."""
        if self._in_line or self._is_lost or self.transport is None:
            return
        self._in_line = True
        if not self.transport.is_closing():
            self.transport.pause_reading()
        turn = self.server.shared.turn
        turn.line_up(turn.new_line, self, len(self._data))

    def serve(self) -> None:
        """Continue with the client's requests; the turn calls this."""
        self._in_line = False
        if self._task is None:
            self._go_on()
        if self._is_overdue and self._waits.kind is Wait.HEAD:
            # Its time ran out in the line, and the head is still not whole.
            self._too_late(Wait.HEAD)
        self._is_overdue = False
        if self.server.shared.turn.is_full:
            self._wait_in_line()

    def stop_reading(self) -> None:
        """Line up: the worker holds too many bytes that it has read."""
        self._wait_in_line()

    def _read_head(self) -> Head | None:
        end = find_end(self._data, self.server.head_limits, self._seen)
        if end < 0:
            self._seen = len(self._data)
            return None
        self._seen = 0
        head = parse_head(bytes(self._data[:end]), self.server.head_limits)
        del self._data[:end]
        # A request without a body gets 100 only before 101 (RFC 9110, 7.8 and 10.1.1).
        expected = head.expects_continue and (head.body_length or head.upgrade)
        if expected and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    def _begin(self, head: Head, body: bytes) -> None:
        """Answer a request: in a task if the handler's code must run, else at once."""
        server, request = self.server, head.request
        context = Context(server.next_id(), server.stopping, server.snapshot, body)
        # The handler's task inherits it, since it is made from here. uvloop calls this method in a
        # context of this connection.
        CONNECTION.set(context.id)
        handler: HandlerBase | None = None
        try:
            route = server.routes.find(request.method, request.path)
            handler = route.handler
            context.path_params = route.params
            self._check_admission()
            if head.upgrade and isinstance(handler, WebsocketHandlerBase):
                check_size(head.raw, handler.options.max_headers_size)
                check_handshake(request.method, request.headers)
                authority = route.authority or request.headers["Host"]
                check_origin(request.headers, authority, handler.options.allowed_origins)
                self._upgrade(handler, head, context)
                return
        except HttpError as error:
            keep = head.keep_alive and error.status != HTTPStatus.BAD_REQUEST
            self._finish(handler, head, refusal(error), keep=keep, reason=error.text)
            return
        answering = self._answer(handler, head, context)
        self._task = asyncio.get_running_loop().create_task(answering)

    async def _answer(self, handler: HandlerBase, head: Head, context: Context) -> None:
        """Answer a plain request by its handler."""
        try:
            answer = await handler.handle_non_websocket_request(head.request, context)
            self._finish(handler, head, answer, keep=head.keep_alive)
        except BaseException as error:  # noqa: BLE001 - an author's code may end with anything
            self._fail(handler, head, error)
        self._go_on()

    def _fail(self, handler: HandlerBase, head: Head, error: BaseException) -> None:
        """Answer 500 for a handler that failed, or whose answer cannot be sent."""
        # The end of the client cancels this task; any other cancellation is the handler's own.
        if isinstance(error, asyncio.CancelledError) and self._is_lost:
            raise error
        handler.logger.exception("the handler failed")
        answer = response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error\n")
        self._finish(handler, head, answer, keep=head.keep_alive)

    def _finish(
        self,
        handler: HandlerBase | None,
        head: Head,
        answer: Response,
        *,
        keep: bool,
        reason: str = "",
    ) -> None:
        """Send an answer, and prepare for the next request.

        ``reason``, of a refusal, goes to the log.
        """
        server = self.server
        close = not keep or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        # Bytes after a handshake may be frames, which must not be read as a request.
        close = close or head.upgrade or server.ending is not None or not self._admitted
        # RFC 9112, 9.6: the sender of close must close.
        close = close or "close" in split_list(answer.headers.get_all("Connection"))
        head_only = head.request.method == "HEAD"
        date, more = server.dates.now(), server.stop_headers()
        data = serialise(answer, date, close=close, head_only=head_only, more=more)
        server.shared.counters.requests += 1
        server.access.request(handler, head.request, answer.status_code, self.client, reason)
        self._has_begun = bool(self._data)
        self._respond(data, close=close)

    def _go_on(self) -> None:
        """Serve the requests that came during a task."""
        self._task = None
        self._serve()
        self._read_on()

    def _read_on(self) -> None:
        """Resume reading, unless a request is left: reading must not overtake answering."""
        transport = self.transport
        if transport is None or self._is_lost or self._has_ended or transport.is_closing():
            return
        if self._task is None and not (self._is_full or self._in_line):
            transport.resume_reading()

    def _check_admission(self) -> None:
        if not self._admitted or self.server.refusing:
            self.server.shared.counters.refused += 1
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "the service is full or stopping")

    def _upgrade(self, handler: WebsocketHandlerBase, head: Head, context: Context) -> None:
        """Answer a valid handshake, after the handler's hook if it has one."""
        server = self.server
        server.shared.turn.charge(HANDSHAKE)
        agreed = agree(server.judges[handler.name], head.request.headers)
        reason = server.admission.admit(handler, self.client)
        if reason is not None:
            server.shared.counters.refused += 1
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        if _has_hook(handler):
            asking = self._ask(handler, head, context, agreed)
            self._task = asyncio.get_running_loop().create_task(asking)
        elif not self._switch(handler, head, context, agreed):
            server.admission.release(handler, self.client)

    async def _ask(
        self,
        handler: WebsocketHandlerBase,
        head: Head,
        context: Context,
        agreed: Agreed,
    ) -> None:
        """Call the handler's hook, and answer the handshake accordingly."""
        upgraded = False
        try:
            async with asyncio.timeout(handler.options.handshake_timeout):
                answer = await handler.handle_handshake(head.request, context)
            if answer is None:
                upgraded = self._switch(handler, head, context, agreed)
            else:
                answer.headers.update(context.response_headers)
                self._finish(handler, head, answer, keep=False)
        except TimeoutError:
            handler.logger.exception("handle_handshake took longer than handshake-timeout")
            text = "the service took too long to decide\n"
            answer = response(HTTPStatus.GATEWAY_TIMEOUT, text)
            self._finish(handler, head, answer, keep=False)
        except BaseException as error:  # noqa: BLE001 an author's code may end with anything
            self._fail(handler, head, error)
        finally:
            if not upgraded:
                self.server.admission.release(handler, self.client)
        self._task = None

    def _switch(
        self,
        handler: WebsocketHandlerBase,
        head: Head,
        context: Context,
        agreed: Agreed,
    ) -> bool:
        """Make the connection a WebSocket; return False if the client has left."""
        server, transport = self.server, self.transport
        if transport is None or transport.is_closing():
            return False
        more = [*context.response_headers, *server.stop_headers()]
        data = switching(server.dates.now(), agreed.headers, more)
        status = HTTPStatus.SWITCHING_PROTOCOLS
        server.access.request(handler, head.request, status, self.client)
        # Before the client gets the 101: its next socket may reach another worker, which counts this one.
        server.end_waiting(self)
        protocol = WebSocketProtocol(
            transport,
            server.shared,
            handler,
            handler.options,
            head.raw,
            context,
            agreed.subprotocol,
            agreed.compression,
            self.client,
            server.ended,
        )
        self._is_over = True
        self._waits.forget()
        server.connections.add(protocol)
        transport.set_protocol(protocol)
        transport.resume_reading()
        self.transport = None
        protocol.outgoing.gather(data)
        start(protocol, handler, bytes(self._data))
        # After the first step of the handler's task: when the client gets the 101, handle has begun.
        asyncio.get_running_loop().call_soon(protocol.write_handshake)
        self._data.clear()
        if self._has_ended:
            protocol.eof_received()
        if server.ending is not None:
            protocol.drain(server.ending)
        return True

    def _refuse(self, error: HttpError) -> None:
        self.server.shared.counters.requests += 1
        self.server.access.refused(error, self.client, self.server.next_id())
        date, more = self.server.dates.now(), self.server.stop_headers()
        data = serialise(refusal(error), date, close=True, head_only=False, more=more)
        self._respond(data, close=True)

    def _respond(self, data: bytes, *, close: bool) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self.server.shared.turn.touch()
        transport.write(data)
        if close:
            self._half_close()

    def _half_close(self) -> None:
        transport = self.transport
        if self._is_over or transport is None:
            return
        self._is_over = True
        self._data.clear()
        if self._has_ended:
            # Closes after the pending bytes are written.
            transport.close()
        else:
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()
        self._waits.begin(Wait.END)

    def _too_late(self, wait: Wait) -> None:
        """End a wait whose event did not come in time."""
        if self._in_line and wait is not Wait.END:
            # It may have come: this client waits for its turn, unread.
            self._is_overdue = wait is Wait.HEAD
            return
        limit = _LIMITS.get(wait)
        if limit is not None:
            self.server.shared.count_limit(limit)
        if wait is Wait.END:
            self.abort()
        elif wait in _INCOMPLETE:
            text = "the request did not arrive in time"
            self._refuse(HttpError(HTTPStatus.REQUEST_TIMEOUT, text))
        else:
            self._half_close()


def _has_hook(handler: WebsocketHandlerBase) -> bool:
    """Return whether the author overrides handle_handshake, which needs a task."""
    return type(handler).handle_handshake is not WebsocketHandlerBase.handle_handshake

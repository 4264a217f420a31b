"""One request and its answer: the handler's, a refusal, or the upgrade to a WebSocket.

Rules. A request gets exactly one answer. The author's code runs in a task; everything else is answered at
once. What an accepted handshake counts for is taken back if no WebSocket comes of it. Bytes behind a
handshake may be frames, so an answer other than 101 closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Protocol, cast

from websockets.http11 import Response

from mpchat.components.auth import authenticate, refuse_expired
from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.errors import HttpError
from mpchat.http.fields import split_list
from mpchat.http.head import Head
from mpchat.http.request import HttpRequest
from mpchat.http.responses import refusal, response, serialise, switching
from mpchat.http.upgrade import check_handshake, check_size, check_token_offer
from mpchat.logs.connection import CONNECTION
from mpchat.server.bodies import HasBody
from mpchat.server.registry import Registry, Waiting
from mpchat.server.services import ClientServices
from mpchat.websocket.budget import HANDSHAKE
from mpchat.websocket.client import Client
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import Agreed, agree
from mpchat.websocket.origins import check_origin
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.task import start

_SWITCHING = int(HTTPStatus.SWITCHING_PROTOCOLS)
Work = Coroutine[Any, Any, None]


class Requester(Waiting, HasBody, Protocol):
    """The socket that a request came from."""

    @property
    def client(self) -> Client:
        """The other end of the socket, as a PROXY header has it."""

    @property
    def descriptor(self) -> int: ...

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def admitted(self) -> bool:
        """Whether the listener's limits admit the socket; otherwise it is open only to be refused."""

    @property
    def is_gone(self) -> bool: ...

    @property
    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""

    @property
    def began(self) -> float:
        """When the request's first byte came, in seconds of the workers' clock."""

    def respond(self, data: bytes, *, close: bool) -> None:
        """Send an answer, and close the connection if it is the last one."""

    def task_done(self) -> None:
        """Go on: the request was answered by the task that ``begin`` asked for."""

    def release(self) -> tuple[asyncio.Transport, bytes, bool]:
        """Give the transport to a WebSocket, and forget it.

        Returns it with the bytes that came behind the handshake, and whether the client has half-closed
        its side.
        """


class Exchange:
    """One request of a client."""

    __slots__ = ("_client", "_head", "_registry", "_requester", "_services")

    def __init__(
        self, services: ClientServices, registry: Registry, requester: Requester, head: Head
    ) -> None:
        self._services = services
        self._registry = registry
        self._requester = requester
        self._head = head
        forwarding = services.forwarding
        self._client = (
            requester.client
            if forwarding is None
            else forwarding.client(requester.client, head.fields)
        )

    def largest_body(self) -> int:
        """Return the most bytes that the request's body may have.

        Raises:
            HttpError: The request is refused, whatever its body is.
        """
        route = self._services.routes.find(self._head.method, self._head.target)
        self._check_admission()
        handler = route.handler_of(upgrade=self._head.upgrade)
        self._throttle(handler)
        own = None if handler is None else handler.options.max_request_size
        return self._services.max_request_size if own is None else own

    def refuse(self, error: HttpError) -> None:
        """Answer a request whose body is not read to its end, and close."""
        services, head = self._services, self._head
        CONNECTION.set(next(services.ids))
        handler: HandlerBase | None = None
        with contextlib.suppress(HttpError):
            route = services.routes.find(head.method, head.target)
            handler = route.handler_of(upgrade=head.upgrade)
        if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            services.shared.count_limit("max_request_size")
        self._respond(handler, refusal(error), keep=False, reason=error.text)

    def begin(self, body: bytes) -> Work | None:
        """Answer at once, or return the work for a task that does."""
        services, head = self._services, self._head
        connection = next(services.ids)
        # The task inherits it, since it is made from here. uvloop calls the protocol in a context of
        # this connection.
        CONNECTION.set(connection)
        handler: HandlerBase | None = None
        try:
            route = services.routes.find(head.method, head.target)
            handler = route.handler_of(upgrade=head.upgrade)
            self._check_admission()
            if head.body_length == 0 and not head.expects_continue:
                # For any other, largest_body has asked before the body was read.
                self._throttle(handler)
            context = Context(
                connection,
                services.stopping,
                services.snapshot,
                self._client.address,
                self._requester.transport,
            )
            context.path_params = route.params
            if handler is None:
                answer = response(HTTPStatus.NO_CONTENT)
                answer.headers["Allow"] = route.allow
                self._respond(None, answer, keep=head.keep_alive)
                return None
            if head.upgrade and isinstance(handler, WebsocketHandlerBase):
                check_size(head.raw, handler.options.max_headers_size)
                check_handshake(head.method, head.fields)
                authority = route.authority or head.fields["host"][0]
                check_origin(
                    head.fields,
                    authority,
                    handler.options.allowed_origins,
                    secure=services.secure,
                    certified=services.certified,
                )
                return self._upgrade(handler, context)
            if isinstance(handler, HttpHandlerBase):
                reason = services.admission.admit_request(handler)
                if reason is not None:
                    raise self._beyond_limit(reason, HTTPStatus.TOO_MANY_REQUESTS)
        except HttpError as error:
            keep = head.keep_alive and error.status != HTTPStatus.BAD_REQUEST
            self._respond(handler, refusal(error), keep=keep, reason=error.text)
            return None
        return self._answer(handler, context, body)

    async def _answer(self, handler: HandlerBase, context: Context, body: bytes) -> None:
        """Answer a plain request by its handler."""
        head, counters = self._head, self._services.shared.counters
        counters.answering += 1
        try:
            if handler.checkers:
                now = self._services.shared.wall_clock()
                await authenticate(handler.checkers, head.request, context, now)
            request = HttpRequest(head.request, body)
            if isinstance(handler, WebsocketHandlerBase):
                answer = await handler.handle_non_websocket_request(request, context)
            else:
                answer = await cast(HttpHandlerBase, handler).handle_request(request, context)
            self._respond(handler, answer, keep=head.keep_alive)
        except HttpError as error:
            self._respond(handler, refusal(error), keep=head.keep_alive, reason=error.text)
        except BaseException as error:  # noqa: BLE001 - an author's code may end with anything
            self._fail(handler, error)
        finally:
            counters.answering -= 1
            if isinstance(handler, HttpHandlerBase):
                self._services.admission.release_request(handler)
            if body:
                self._services.bodies.gone(self._requester)
        self._requester.task_done()

    def _fail(self, handler: HandlerBase, error: BaseException) -> None:
        """Answer 500 for a handler that failed, or whose answer cannot be sent."""
        # The end of the client cancels the task; any other cancellation is the handler's own.
        if isinstance(error, asyncio.CancelledError) and self._requester.is_gone:
            raise error
        handler.logger.exception("the handler failed")
        failed = HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
        self._respond(handler, refusal(failed), keep=self._head.keep_alive)

    def _respond(
        self, handler: HandlerBase | None, answer: Response, *, keep: bool, reason: str = ""
    ) -> None:
        """Send an answer; ``reason``, of a refusal, goes to the log."""
        services, registry, head = self._services, self._registry, self._head
        close = not keep or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        close = close or head.upgrade or registry.ending is not None
        close = close or not self._requester.admitted
        # RFC 9112, 9.6: the sender of close must close.
        close = close or "close" in split_list(answer.headers.get_all("Connection"))
        data = serialise(
            answer,
            services.dates.now(),
            close=close,
            head_only=head.method == "HEAD",
            more=services.stop_headers(refusing=registry.refusing),
        )
        services.shared.counters.requests += 1
        services.admission.answered(handler, answer.status_code)
        services.access.request(handler, head, answer.status_code, self._client, reason)
        self._requester.respond(data, close=close)

    def _check_admission(self) -> None:
        if not self._requester.admitted or self._registry.refusing:
            self._services.shared.counters.refused += 1
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "the service is full or stopping")

    def _throttle(self, handler: HandlerBase | None) -> None:
        overload = self._services.overload
        if overload is not None and handler is not None and not overload.takes(handler):
            self._services.shared.counters.refused += 1
            raise overload.refusal(handler)

    def _beyond_limit(self, reason: str, status: HTTPStatus) -> HttpError:
        """Count a refusal, and return it."""
        self._services.shared.counters.refused += 1
        return HttpError(status, reason)

    def _upgrade(self, handler: WebsocketHandlerBase, context: Context) -> Work | None:
        """Answer a valid handshake, after the handler's hook if it has one."""
        services = self._services
        services.shared.turn.charge(HANDSHAKE)
        agreed = agree(services.negotiators[handler.name], self._head.fields)
        reason = services.admission.admit(handler, self._client)
        if reason is not None:
            raise self._beyond_limit(reason, HTTPStatus.SERVICE_UNAVAILABLE)
        if handler.checkers or _has_hook(handler):
            return self._ask(handler, context, agreed)
        if not self._switch(handler, context, agreed):
            services.admission.release(handler, self._client)
        return None

    async def _ask(self, handler: WebsocketHandlerBase, context: Context, agreed: Agreed) -> None:
        """Ask the handler's checkers and its hook, and answer the handshake accordingly."""
        upgraded = False
        user: str | None = None
        counters = self._services.shared.counters
        counters.answering += 1
        try:
            async with self._services.timeout(handler.options.handshake_timeout):
                answer = await self._decide(handler, context, agreed)
            if answer is None:
                user = self._admit_user(handler, context)
                upgraded = self._switch(handler, context, agreed, user)
            else:
                answer.headers.update(context.added_headers())
                self._respond(handler, answer, keep=False)
        except HttpError as error:
            self._respond(handler, refusal(error), keep=False, reason=error.text)
        except TimeoutError:
            handler.logger.exception("handle_handshake took longer than handshake-timeout")
            late = HttpError(HTTPStatus.GATEWAY_TIMEOUT, "the service took too long to decide")
            self._respond(handler, refusal(late), keep=False)
        except BaseException as error:  # noqa: BLE001 - an author's code may end with anything
            self._fail(handler, error)
        finally:
            counters.answering -= 1
            if not upgraded:
                self._services.admission.release(handler, self._client)
                if user is not None:
                    self._services.admission.release_user(handler, user)
        self._requester.task_done()

    async def _decide(
        self, handler: WebsocketHandlerBase, context: Context, agreed: Agreed
    ) -> Response | None:
        """Return the hook's refusal of a handshake, or None.

        Raises:
            HttpError: A checker's refusal.
        """
        check_token_offer(self._head.fields, agreed.subprotocol)
        now = self._services.shared.wall_clock()
        if handler.checkers:
            await authenticate(handler.checkers, self._head.request, context, now)
        answer = await handler.handle_handshake(self._head.request, context)
        if answer is None:
            # The hook may have asked a checker by itself.
            refuse_expired(context, now)
        return answer

    def _admit_user(self, handler: WebsocketHandlerBase, context: Context) -> str | None:
        """Return the user that a handshake is counted for, None if nobody knows who it is from.

        Raises:
            HttpError: 503, the user has too many connections.
        """
        user = context.user
        if user is not None:
            reason = self._services.admission.admit_user(handler, user)
            if reason is not None:
                raise self._beyond_limit(reason, HTTPStatus.SERVICE_UNAVAILABLE)
        return user

    def _switch(
        self,
        handler: WebsocketHandlerBase,
        context: Context,
        agreed: Agreed,
        user: str | None = None,
    ) -> bool:
        """Make the connection a WebSocket; return False if the client has left."""
        services, registry, requester = self._services, self._registry, self._requester
        if requester.is_closing:
            return False
        more = context.added_headers()
        if registry.refusing:
            more = [*more, *services.stop_headers(refusing=True)]
        data = switching(services.dates.now(), agreed.headers, more)
        services.admission.answered(handler, _SWITCHING)
        services.admission.opened(handler)
        services.access.request(handler, self._head, _SWITCHING, self._client)
        transport, rest, has_ended = requester.release()
        protocol = WebSocketProtocol(
            transport,
            requester.descriptor,
            services.shared,
            handler,
            handler.options,
            self._head.raw,
            context,
            agreed.subprotocol,
            agreed.compression,
            self._client,
            registry.on_end,
        )
        registry.upgrade(requester, protocol, user)
        # It has the methods; in its compiled form it cannot have a base class of Python.
        transport.set_protocol(cast(asyncio.Protocol, protocol))
        transport.resume_reading()
        protocol.outgoing.gather(data)
        start(protocol, handler, rest)
        # After the first step of the handler's task: when the client gets the 101, handle has begun.
        services.loop.call_soon(protocol.write_handshake)
        seconds = services.shared.clock() - requester.began
        services.shared.counters.histograms.handshake.observe(int(seconds * 1_000_000))
        if has_ended:
            protocol.eof_received()
        if registry.ending is not None:
            protocol.drain(registry.ending)
        return True


def _has_hook(handler: WebsocketHandlerBase) -> bool:
    """Return whether the author overrides handle_handshake, which needs a task."""
    return type(handler).handle_handshake is not WebsocketHandlerBase.handle_handshake

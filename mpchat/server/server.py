"""One worker's server: accepts sockets, passes them on, and knows every open connection."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import KEEPALIVE
from mpchat.http.head import HeadLimits
from mpchat.http.responses import Dates
from mpchat.server.accepted import Accepted
from mpchat.server.accepting import Acceptor
from mpchat.server.access_log import AccessLog
from mpchat.server.admission import Admission
from mpchat.server.adopting import Adopting
from mpchat.server.arriving import Arrivals, ArrivingProtocol
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.server.bodies import Bodies
from mpchat.server.describing import rows
from mpchat.server.drain import Drain
from mpchat.server.forwarded import Forwarding
from mpchat.server.inspection import InFlight, describe_request
from mpchat.server.options import OFF, ListenerOptions, ServerOptions
from mpchat.server.overload import CongestionPlan, Overload
from mpchat.server.protocol import HttpProtocol
from mpchat.server.registry import Registry
from mpchat.server.routes import Routes
from mpchat.server.services import ClientServices
from mpchat.server.trusted import TrustedProxies
from mpchat.server.waits import Times
from mpchat.tls.contexts import Contexts
from mpchat.tls.layer import TlsProtocol
from mpchat.tls.worker import TlsWorker
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import make_negotiator
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.shared import Shared

_NO_SOCKET = -1


class Server:
    """One worker's server.

    ``timeout`` limits what follows to so many seconds. Without ``congestion``, whatever comes is taken.
    With ``tls``, clients have to speak that.

    Attributes:
        drain: Ends all clients in order.
        registry: The open sockets.
        services: What clients use.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ServerOptions,
        handlers: Sequence[HandlerBase],
        shared: Shared,
        snapshot: Callable[[], Snapshot],
        board: ServiceBoard,
        stopping: asyncio.Event,
        balance: Balance,
        timeout: Callable[[float], AbstractAsyncContextManager[object]] = asyncio.timeout,
        congestion: CongestionPlan | None = None,
        tls: Contexts | None = None,
    ) -> None:
        access = AccessLog(snapshot, options.logger_access)
        admission = Admission(board, handlers, options.listener, snapshot, shared.wall_clock)
        limits = options.listener.handler_defaults
        prefix = f"{os.getpid():x}"
        self.registry = Registry(shared, admission, access)
        self._acceptor = Acceptor(
            loop, shared.turn, self._on_socket, lambda: shared.count_limit("descriptors")
        )
        self._overload = (
            Overload(congestion, handlers, shared, admission, board, snapshot, self._acceptor.hold)
            if congestion is not None
            else None
        )
        self.services = ClientServices(
            loop=loop,
            times=Times(options),
            timeout=timeout,
            routes=Routes(handlers),
            head_limits=HeadLimits(limits.max_url_size, limits.max_headers_size),
            max_request_size=limits.max_request_size,
            bodies=Bodies(_most_of_bodies(options, handlers, shared), shared.count_limit),
            negotiators={
                handler.name: make_negotiator(
                    handler.options.subprotocols,
                    handler.options.permessage_deflate,
                    optional=handler.subprotocol_optional,
                )
                for handler in handlers
                if isinstance(handler, WebsocketHandlerBase)
            },
            admission=admission,
            access=access,
            dates=Dates(shared.wall_clock),
            shared=shared,
            snapshot=snapshot,
            stopping=stopping,
            ids=(f"{prefix}-{number:x}" for number in itertools.count(1)),
            forwarding=_make_forwarding(options.listener, admission),
            overload=self._overload,
            secure=tls is not None,
            certified=tls is not None and tls.requires_certificates,
        )
        self._tls = (
            TlsWorker(tls.base, shared, options.handshake_timeout) if tls is not None else None
        )
        self._arrivals = (
            Arrivals(self.services, self.registry, options.listener, self._client)
            if options.listener.proxy_protocol != OFF
            else None
        )
        self._clock = shared.clock
        self._wall_clock = shared.wall_clock
        self._counters = shared.counters
        self._turn = shared.turn
        shared.turn.on_full = self.registry.stop_reading
        self._balance = balance
        self._keepalive = snapshot()[KEEPALIVE]
        self._adopting = Adopting(loop)
        backlog = options.listener.backlog
        self.drain = Drain(loop, self._acceptor, self.registry, self._adopting.wait, backlog)

    def accept_from(self, sockets: Iterable[socket.socket]) -> None:
        """Start accepting from these listening sockets and inboxes."""
        self._acceptor.add(sockets)

    def stop_accepting_from(self, listening: socket.socket) -> None:
        """Leave this listening socket or inbox to others."""
        self._acceptor.remove(listening)

    def leave(self) -> None:
        """Take no more clients; other workers continue to accept from the same sockets."""
        self._acceptor.leave()

    def config_changed(self) -> None:
        """Let open connections, and overload control, follow a new dynamic config.

        Another keepalive begins for all of them at once; their pings are spread over its interval.
        """
        if self._overload is not None:
            self._overload.config_changed()
        before, self._keepalive = self._keepalive, self.services.snapshot()[KEEPALIVE]
        if self._keepalive == before:
            return
        connections = self.registry.connections
        for number, protocol in enumerate(connections, 1):
            protocol.follow_keepalive(number / len(connections))

    def stop(self) -> None:
        """Look no more for overload: all clients have ended."""
        if self._overload is not None:
            self._overload.stop()

    def connections_of(self, user: str | None, tag: str | None) -> list[WebSocketProtocol]:
        """Return the open WebSocket connections of a user, and with a tag; None stands for any."""
        return [
            protocol
            for protocol in self.registry.connections
            if user in {None, protocol.context.user}
            and (tag is None or tag in protocol.context.tags)
        ]

    def describe(
        self, connections: Iterable[WebSocketProtocol], by: str, limit: int | None
    ) -> list[dict[str, Any]]:
        """Return rows for operators of these connections; see ``describing.rows``."""
        return rows(connections, self._clock(), by, limit)

    def describe_requests(self, *, opened: bool, with_body: bool) -> Iterator[dict[str, Any]]:
        """Return a row for each request that handlers work on now, or for each open connection.

        The rows are made one by one, since 10,000 take a second.
        """
        registry = self.registry
        found = registry.open_requests() if opened else registry.requests()
        return self._rows(found, with_body)

    def _rows(self, found: list[InFlight], with_body: bool) -> Iterator[dict[str, Any]]:
        for one in found:
            yield describe_request(one, self._clock(), self._wall_clock(), with_body=with_body)

    def _on_socket(self, accepted: Accepted, address: Any) -> None:
        if address is not None:
            self._counters.accepted += 1
            if self._balance.pass_on(accepted, self._counters.sockets):
                self._counters.passed_on += 1
                self._turn.touch()
                return
        if self._overload is not None:
            self._overload.accepted()
        if self._arrivals is not None:
            arriving = ArrivingProtocol(self._arrivals, address, accepted.fileno())
            self._adopting.begin(accepted, arriving, arriving.forget)
            return
        client, lowest = self._client(address, accepted.fileno())
        self._adopting.begin(accepted, lowest, lambda: self.registry.leave(client))

    def _client(self, address: Any, descriptor: int) -> tuple[HttpProtocol, asyncio.Protocol]:
        """Return a client, and what its transport calls: the client itself, or TLS below it."""
        if self._tls is None:
            client = HttpProtocol(self.services, self.registry, address, descriptor)
            return client, client
        # What HTTP or a WebSocket would write past its transport would not be encrypted.
        client = HttpProtocol(self.services, self.registry, address, _NO_SOCKET)
        # It has the methods; in its compiled form it cannot have a base class of Python.
        return client, cast(asyncio.Protocol, TlsProtocol(self._tls, client, descriptor))


def _make_forwarding(options: ListenerOptions, admission: Admission) -> Forwarding | None:
    if options.forwarded == OFF:
        return None
    return Forwarding(options.forwarded, TrustedProxies(options.trusted_proxies), admission.client)


def _most_of_bodies(options: ServerOptions, handlers: Sequence[HandlerBase], shared: Shared) -> int:
    """Return the most bytes of bodies that the worker holds: the largest one that it takes fits."""
    own = [handler.options.max_request_size or 0 for handler in handlers]
    default = options.listener.handler_defaults.max_request_size
    return max(shared.thresholds.max_body_bytes, default, *own)

"""A client's socket until its PROXY header has come: from then on it is an HTTP client's.

Rules. Whoever is not trusted is closed at once, and so is a trusted one that sends anything else, or too
late. Until then a socket counts against no limit but that of this stage: nobody knows yet whose it is.
The header is read by the worker that keeps the socket. What comes behind it, in the same read, goes on to
HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from mpchat.server.options import ListenerOptions
from mpchat.server.protocol import HttpProtocol
from mpchat.server.proxy_header import READERS, HeaderError
from mpchat.server.registry import Registry
from mpchat.server.services import ClientServices
from mpchat.server.trusted import TrustedProxies
from mpchat.websocket.budget import READ
from mpchat.websocket.client import Client

LIMIT = "listener.proxy-protocol"


class Arrivals:
    """What all sockets of a worker have in common until their headers have come."""

    def __init__(
        self,
        services: ClientServices,
        registry: Registry,
        options: ListenerOptions,
        client: Callable[[Any, int], tuple[HttpProtocol, asyncio.Protocol]],
    ) -> None:
        self.client = client
        """Returns a client, and what its transport calls, which may be TLS below it"""
        self.services = services
        self.registry = registry
        self.read = READERS[options.proxy_protocol]
        self.trusted = TrustedProxies(options.trusted_proxies)
        self.seconds = services.shared.thresholds.arrival_seconds


class ArrivingProtocol(asyncio.Protocol):
    """One socket; ``address`` and ``descriptor`` as for HttpProtocol."""

    _transport: asyncio.Transport | None = None
    _peer: Client
    _fresh_seconds: float | None = None
    """Seconds for a request behind the header, once the worker ends"""

    def __init__(self, arrivals: Arrivals, address: Any, descriptor: int) -> None:
        self._arrivals = arrivals
        self._name = address
        self._descriptor = descriptor
        self._data = bytearray()
        self.wheel_tick = 0
        self._has_room = arrivals.registry.arrive(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        arrivals = self._arrivals
        # uvloop's transports are not of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)
        self._name = self._name or transport.get_extra_info("peername")
        self._peer = arrivals.services.admission.client(self._name)
        if not arrivals.trusted.trusts(self._peer):
            self._refuse("not one of trusted-proxies")
        elif not self._has_room:
            self._refuse("too many sockets without a PROXY header")
        else:
            arrivals.services.shared.wheel.set(self, arrivals.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrivals.services.shared.counters.left += 1
        self.forget()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._arrivals.services.shared.turn.charge(READ)
        self._data += data
        try:
            header = self._arrivals.read(self._data)
        except HeaderError as error:
            self._refuse(str(error))
            return
        if header is not None:
            name = self._name if header.source is None else header.source
            self._hand_over(transport, name, bytes(self._data[header.size :]))

    def end_if_idle(self, fresh_seconds: float) -> None:
        """End it unless its header and a request come within the time."""
        if self._transport is None:
            return
        if fresh_seconds:
            self._fresh_seconds = fresh_seconds
            self._arrivals.services.shared.wheel.set(self, fresh_seconds)
        else:
            self.abort()

    def forget(self) -> None:
        """Wait for its header no longer: it has come, or the client is gone."""
        self._arrivals.services.shared.wheel.discard(self)
        self._arrivals.registry.arrived(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """The time is over; the wheel calls this."""
        self._refuse("no PROXY header in time")

    def _hand_over(self, transport: asyncio.Transport, name: Any, rest: bytes) -> None:
        """Let HTTP go on with this socket, as if its client had connected now."""
        self.forget()
        arrivals = self._arrivals
        arrivals.services.shared.counters.proxied += 1
        http, lowest = arrivals.client(name, self._descriptor)
        transport.set_protocol(lowest)
        lowest.connection_made(transport)
        if rest:
            lowest.data_received(rest)
        if self._fresh_seconds is not None:
            http.end_if_idle(self._fresh_seconds)

    def _refuse(self, reason: str) -> None:
        services = self._arrivals.services
        services.shared.count_limit(LIMIT)
        services.access.closed_early(reason, self._peer, next(services.ids))
        self.abort()

"""One worker's server: accepts sockets, counts connections, and ends all of them in order.

Rules. Every client socket is in exactly one of two sets: ``waiting`` (plain HTTP) or ``connections``
(WebSocket). A stop has four steps: refuse while still accepting; accept queued clients and close the
listening sockets; close connections, spread over the window; cut off the rest at the deadline.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import GRACEFUL_SHUTDOWN_HEADERS
from mpchat.http.head import HeadLimits
from mpchat.http.responses import Dates
from mpchat.http.target import shown_target
from mpchat.server.accepting import Acceptor
from mpchat.server.access_log import AccessLog
from mpchat.server.admission import Admission, ServiceBoard
from mpchat.server.balance import Balance
from mpchat.server.http import HttpProtocol
from mpchat.server.options import ServerOptions
from mpchat.server.routes import Routes
from mpchat.server.spread import closing_times
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import make_judge
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.shared import Shared

_NOW_SECONDS = 0.5
"""Seconds for the answers to our last Closes, and for the sockets to end after an abort."""
_SHOWN_PATH = 256
"""Characters of a path that operators see."""
_FRESH_SECONDS = 0.5
"""Seconds for the request of a client that has just connected when its worker begins to end."""

log = logging.getLogger("mpchat.server")


class Server:
    """Accepts, routes, and knows every open connection of its worker."""

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
    ) -> None:
        self.options = options
        self.routes = Routes(handlers)
        self.shared = shared
        self.snapshot = snapshot
        self.access = AccessLog(snapshot, options.logger_access)
        limits = options.listener.handler_defaults
        self.head_limits = HeadLimits(
            limits.max_url_size, limits.max_headers_size, limits.max_request_size
        )
        self.admission = Admission(board, handlers, options.listener, snapshot)
        self.judges = {
            handler.name: make_judge(
                handler.options.subprotocols, handler.options.permessage_deflate
            )
            for handler in handlers
            if isinstance(handler, WebsocketHandlerBase)
        }
        self.dates = Dates()
        self.stopping = stopping
        self.refusing = False
        self.ending: int | None = None
        """The close code for connections, once this worker has begun to end"""
        self.waiting: set[HttpProtocol] = set()
        self.connections: set[WebSocketProtocol] = set()
        self._loop = loop
        self._acceptor = Acceptor(
            loop, shared.turn, self._on_socket, lambda: shared.count_limit("descriptors")
        )
        shared.turn.on_full = self._stop_reading
        self._balance = balance
        self._adopting: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(1)
        self._closed_one = asyncio.Event()
        self._prefix = f"{os.getpid():x}"

    def accept_from(self, sockets: Iterable[socket.socket]) -> None:
        """Start accepting from these listening sockets and inboxes."""
        self._acceptor.add(sockets)

    def stop_accepting_from(self, listening: socket.socket) -> None:
        """Leave this listening socket or inbox to others."""
        self._acceptor.remove(listening)

    def config_changed(self) -> None:
        """Let open connections follow a new dynamic config."""
        for protocol in self.connections:
            protocol.follow_config()

    def connections_now(self) -> list[dict[str, Any]]:
        """Return a row for operators for each open WebSocket connection."""
        now = time.monotonic()
        return [describe_connection(protocol, now) for protocol in self.connections]

    def stop_headers(self) -> list[tuple[str, str]]:
        """Return the headers of every answer while the service stops (GRACEFUL_SHUTDOWN_HEADERS)."""
        wanted = self.snapshot()[GRACEFUL_SHUTDOWN_HEADERS]
        if not (self.refusing and wanted.enabled):
            return []
        return [(name, ", ".join(values)) for name, values in wanted.headers.items()]

    def next_id(self) -> str:
        """Return a name for a connection, unique among the living workers."""
        return f"{self._prefix}-{next(self._ids):x}"

    def end_waiting(self, protocol: HttpProtocol) -> None:
        """Count out a client whose socket is gone or has become a WebSocket."""
        self.waiting.discard(protocol)
        self._uncount_waiting()

    def socket_closed(self) -> None:
        """Count out a client's socket that is gone."""
        self.shared.counters.sockets -= 1
        self._closed_one.set()
        self.shared.turn.touch()

    def ended(self, protocol: WebSocketProtocol) -> None:
        """Count out and log a WebSocket connection that has ended, and its handler with it."""
        if protocol not in self.connections:
            return
        self.connections.discard(protocol)
        self.socket_closed()
        self.admission.release(protocol.handler, protocol.client)
        seconds = time.monotonic() - protocol.since
        code, connection = protocol.close_code, protocol.context.id
        self.access.closed(protocol.handler, code, seconds, connection)

    async def stop(self, lameduck: float, window: float, deadline: float) -> None:
        """End everything for a stop of the service (1001)."""
        self.refusing = True
        if lameduck:
            await asyncio.sleep(lameduck)
        self._acceptor.finish(self.options.listener.backlog)
        await self._wait_adopted()
        await self._close_connections(1001, window, deadline)

    def leave(self) -> None:
        """Take no more clients; other workers continue to accept from the same sockets."""
        self._acceptor.leave()

    async def drain(self, code: int, window: float, deadline: float) -> None:
        """Take no more clients, and end the connections of this worker."""
        self.leave()
        await self._wait_adopted()
        await self._close_connections(code, window, deadline)

    async def close_all_now(self, code: int) -> None:
        """Close all connections at once, wait a moment for the answers, and cut off the rest."""
        self.refusing = True
        self.ending = code
        self._acceptor.finish(self.options.listener.backlog)
        for waiting in list(self.waiting):
            waiting.end_if_idle(0.0)
        await self._cancel_all(code)

    async def _close_connections(self, code: int, window: float, deadline: float) -> None:
        end = self._loop.time() + deadline
        self.ending = code
        for waiting in list(self.waiting):
            waiting.end_if_idle(_FRESH_SECONDS)
        connections = list(self.connections)
        begun = self._loop.time()
        times = closing_times(len(connections), window, deadline)
        for protocol, at in zip(connections, times, strict=True):
            wait = begun + at - self._loop.time()
            # The loop would round up a shorter sleep to a millisecond.
            if wait > 0.001:
                await asyncio.sleep(wait)
            protocol.drain(code)
        await self._wait_empty(end)
        if self.connections:
            log.warning("%d connections had not ended by the deadline", len(self.connections))
        await self._cancel_all(code)

    async def _wait_empty(self, end: float) -> None:
        while self.connections or self.waiting:
            self._closed_one.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._closed_one.wait()
            except TimeoutError:
                return

    async def _cancel_all(self, code: int) -> None:
        """Close the remaining connections, wait a moment for the answers, and cut off the rest."""
        for protocol in list(self.connections):
            protocol.cancel(code)
        await self._wait_empty(self._loop.time() + _NOW_SECONDS)
        for protocol in list(self.connections):
            protocol.abort()
        for waiting in list(self.waiting):
            waiting.abort()
        await self._wait_empty(self._loop.time() + _NOW_SECONDS)

    def _on_socket(self, client: socket.socket, address: Any) -> None:
        counters = self.shared.counters
        if address is not None:
            counters.accepted += 1
            if self._balance.pass_on(client, counters.sockets):
                counters.passed_on += 1
                self.shared.turn.touch()
                return
        counters.sockets += 1
        counters.waiting += 1
        admitted = self.admission.admits_socket(counters.sockets, counters.waiting)
        task = self._loop.create_task(self._adopt(client, address, admitted))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, client: socket.socket, address: Any, admitted: bool) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: HttpProtocol(self, address, admitted=admitted), client
            )
        except OSError as error:
            # The client has already gone.
            log.debug("a client left while it was accepted: %s", error)
            self._uncount_waiting()
            self.socket_closed()
            client.close()

    def _stop_reading(self) -> None:
        for waiting in self.waiting:
            waiting.stop_reading()
        for protocol in self.connections:
            protocol.stop_reading()

    def _uncount_waiting(self) -> None:
        counters = self.shared.counters
        counters.waiting -= 1
        self.admission.show_waiting(counters.waiting)

    async def _wait_adopted(self) -> None:
        if self._adopting:
            await asyncio.wait(list(self._adopting))


def describe_connection(protocol: WebSocketProtocol, now: float) -> dict[str, Any]:
    """Return a connection's row: peer, path, age, traffic, and the waiting messages and bytes."""
    parser, outgoing = protocol.parser, protocol.outgoing
    return {
        "id": protocol.context.id,
        "peer": str(protocol.client),
        "path": shown_target(protocol.target)[:_SHOWN_PATH],
        "age_seconds": round(now - protocol.since, 3),
        "messages_received": parser.received,
        "messages_sent": outgoing.sent,
        "bytes_received": parser.received_bytes,
        "bytes_sent": outgoing.sent_bytes,
        "messages_waiting": len(protocol.incoming.messages),
        "bytes_waiting": outgoing.backlog,
    }

"""Every client socket of a worker, and what is counted when one comes, changes or goes.

Rules. A socket is in exactly one of three sets, from its acceptance to its end: ``arriving`` (its PROXY
header has not come), ``waiting`` (plain HTTP) or ``connections`` (WebSocket). The gauges are the sizes of
the last two, so leaving twice counts once, whichever way a client's end becomes known. Those that arrive
have a bound of their own, and count nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from mpchat.server.access_log import AccessLog
from mpchat.server.admission import Admission
from mpchat.server.inspection import InFlight
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.shared import Shared


class Early(Protocol):
    """A socket that is not a WebSocket, or not yet."""

    def end_if_idle(self, fresh_seconds: float) -> None: ...
    def abort(self) -> None: ...


class Waiting(Early, Protocol):
    """One that HTTP serves."""

    @property
    def in_flight(self) -> InFlight | None:
        """The request that a handler works on, if one does."""

    def stop_reading(self) -> None: ...


class Registry:
    """The open sockets of one worker.

    Attributes:
        refusing: Whether new requests get 503.
        ending: The close code for connections, once the worker ends them.
        on_end: Counts out and logs a WebSocket connection that has ended; each keeps it.
    """

    def __init__(
        self,
        shared: Shared,
        admission: Admission,
        access: AccessLog,
    ) -> None:
        self.arriving: set[Early] = set()
        self.waiting: set[Waiting] = set()
        self.connections: set[WebSocketProtocol] = set()
        self._users: dict[WebSocketProtocol, str] = {}
        self.refusing = False
        self.ending: int | None = None
        self._shared = shared
        self._admission = admission
        self._access = access
        self._max_arriving = shared.thresholds.max_arriving
        self._one_left = asyncio.Event()
        # Bound once, and not for each connection.
        self.on_end = self._ended

    @property
    def early(self) -> list[Early]:
        """All that are no WebSockets."""
        return [*self.arriving, *self.waiting]

    def arrive(self, client: Early) -> bool:
        """Note a socket that has to send a PROXY header; return whether there is room for it."""
        self.arriving.add(client)
        return len(self.arriving) <= self._max_arriving

    def enter(self, client: Waiting) -> bool:
        """Count in a socket that was accepted; return whether the listener's limits admit it."""
        self.waiting.add(client)
        counters = self._shared.counters
        counters.waiting = len(self.waiting)
        counters.sockets = counters.waiting + len(self.connections)
        return self._admission.admits_socket(counters.sockets, counters.waiting)

    def arrived(self, client: Early) -> None:
        """Forget a socket whose PROXY header has come, or that is gone."""
        self.arriving.discard(client)
        self._one_left.set()

    def leave(self, client: Waiting) -> None:
        """Count out a socket that is gone."""
        if client in self.waiting:
            self.waiting.discard(client)
            self._one_less()
            self._show_waiting()

    def upgrade(
        self, client: Waiting, protocol: WebSocketProtocol, user: str | None = None
    ) -> None:
        """Count a socket as a WebSocket connection, which was admitted as that of ``user``.

        Call this before the client gets the 101: its next socket may reach another worker, which reads
        this worker's numbers.
        """
        self.waiting.discard(client)
        self.connections.add(protocol)
        if user is not None:
            self._users[protocol] = user
        self._show_waiting()

    def _ended(self, protocol: WebSocketProtocol) -> None:
        """Count out and log a WebSocket connection that has ended, and its handler with it."""
        if protocol not in self.connections:
            return
        self.connections.discard(protocol)
        self._one_less()
        self._admission.release(protocol.handler, protocol.client)
        # The handler may have changed context.user since.
        if self._users and (user := self._users.pop(protocol, None)) is not None:
            self._admission.release_user(protocol.handler, user)
        seconds = self._shared.clock() - protocol.since
        self._shared.counters.histograms.life.observe(int(seconds * 1_000_000))
        code, connection = protocol.close_code, protocol.context.id
        self._access.closed(protocol.handler, code, seconds, connection)

    def stop_reading(self) -> None:
        """Stop reading from all: the worker holds too many bytes that it has read."""
        for waiting in self.waiting:
            waiting.stop_reading()
        for protocol in self.connections:
            protocol.stop_reading()

    def requests(self) -> list[InFlight]:
        """Return the requests that handlers work on, open handshakes among them."""
        return [client.in_flight for client in self.waiting if client.in_flight is not None]

    def open_requests(self) -> list[InFlight]:
        """Return the requests that have become WebSocket connections."""
        return [InFlight(found.head, b"", found.since) for found in self.connections]

    async def wait_empty(self, end: float) -> None:
        """Wait until no socket is left, at most until this time of the loop's clock."""
        while self.connections or self.waiting or self.arriving:
            self._one_left.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._one_left.wait()
            except TimeoutError:
                return

    def _one_less(self) -> None:
        counters = self._shared.counters
        counters.left += 1
        counters.sockets = len(self.waiting) + len(self.connections)
        self._one_left.set()
        self._shared.turn.touch()

    def _show_waiting(self) -> None:
        counters = self._shared.counters
        counters.waiting = len(self.waiting)
        self._admission.show_waiting(counters.waiting)

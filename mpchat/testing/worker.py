"""One worker of a service in the event loop of a test: all of its code, but for process and sockets.

Rules. Requests and messages pass the server's own code, from the first byte on. What is missing is what
belongs to a process or its listening socket: log files and levels, garbage collection, siblings, PROXY
headers, overload control. The scoreboard is its own. Without a clock of the test, time is real.
"""

from __future__ import annotations

import array
import asyncio
import itertools
import json
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Self, TypeVar

from mpchat.components.component import Component, ComponentError, Components
from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config import fallback
from mpchat.dynamic_config.json_file import read_json
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import DRAIN
from mpchat.errors import ConfigError
from mpchat.ipc.control import ControlError
from mpchat.ipc.messages import Report
from mpchat.ipc.pairing import BrokerPairs
from mpchat.linux import descriptors
from mpchat.logs.records import Origin
from mpchat.metrics.area import Area
from mpchat.metrics.families import Distribution
from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.locks import Locks
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.server.protocol import HttpProtocol
from mpchat.server.server import Server
from mpchat.template.dynamic import load_dynamic
from mpchat.testing.clients import MemoryServiceClient, MemoryWebsocketClient
from mpchat.testing.clock import Clock
from mpchat.testing.logs import MemoryLogs
from mpchat.testing.rooms import MemoryMemberships, RoomsInMemory
from mpchat.testing.transport import connect_pair
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.rooms import Memberships
from mpchat.websocket.component import ConnectionsComponent
from mpchat.websocket.keepalive import Keepalive
from mpchat.websocket.shared import Shared
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel
from mpchat.worker.kicking import close_connections
from mpchat.worker.service import Service

_END_SECONDS = 0.25
"""Seconds for handlers to end by themselves when a test has ended; then they are cancelled."""
_NO_DESCRIPTOR = -1

C = TypeVar("C", bound=Component)

log = logging.getLogger("mpchat.testing")


class Worker:
    """A running worker. Its attributes are the fixtures of ``mpchat.testsuite``, by their names.

    Attributes:
        websocket_client: Opens WebSocket connections.
        service_client: Sends plain HTTP requests.
        dynamic_config: Reads and changes the dynamic config.
        capture_logs: Records of the log.
        rooms: Waits for the members of rooms.
    """

    def __init__(
        self, service: Service, dynamic: Mapping[str, Any], clock: Clock | None, time_limit: float
    ) -> None:
        self._service = service
        self._given = dynamic
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._stopping = asyncio.Event()
        self._is_stopped = False
        self._ports = itertools.count(40_000)
        self._origin = Origin(f"{service.pool}/0")
        for warning in service.warnings:
            log.warning("%s", warning)
        self._values = {**load_dynamic(service).values, **self._validated(dynamic)}
        self._follow(1)
        self._scoreboard = Scoreboard.create()
        self._scoreboard.set_service("slots", 1)
        entries = service.metrics()
        values = array.array("d", bytes(8 * sum(entry.size for entry in entries)))
        self._metrics = Area(entries, values, self._loop.call_soon_threadsafe)
        self._host = _Host(self)
        self._components = Components(service.components, self._get_snapshot, self._host)
        rooms = service.rooms()
        self._rooms = RoomsInMemory(rooms.options) if rooms is not None else None
        self.websocket_client = MemoryWebsocketClient(plug=self._plug, time_limit=time_limit)
        self.service_client = MemoryServiceClient(plug=self._plug, time_limit=time_limit)
        self.dynamic_config: DynamicConfig = _MemoryConfig(self)
        self.capture_logs = MemoryLogs(self._origin, time_limit)
        self.rooms: Memberships = MemoryMemberships(self._rooms, time_limit)

    def find(self, cls: type[C], name: str | None = None) -> C:
        """Return a component or handler of the service, as ``Components.find``."""
        return self._components.find(cls, name)

    def metric(self, name: str, /, **labels: str) -> float | Distribution:
        """Return the value of a metric that a component declares: ``metric("orders", kind="buy")``.

        That of a histogram has ``bounds``, ``counts`` and ``sum``.

        Raises:
            KeyError: No component declares one of that name.
            ValueError: It has other labels, or a label has no such value.
        """
        return self._metrics.read(name, labels)

    async def stop(self) -> None:
        """Stop as a service does on SIGTERM: as MPCHAT_DRAIN says, clients get 1001."""
        numbers = self._snapshot[DRAIN]
        window, deadline = numbers.window_ms / 1000, numbers.deadline_ms / 1000
        await self._end(numbers.lameduck_ms / 1000, window, deadline)

    async def __aenter__(self) -> Self:
        """Build and start all components.

        Raises:
            ComponentError: One failed; the text names it.
        """
        try:
            self._built = self._components.build()
        except BaseException:
            descriptors.close(self._scoreboard.descriptor)
            raise
        shared = self._make_shared()
        for component in self._built:
            if isinstance(component, ConnectionsComponent):
                component.begin(shared)
        self._server = self._make_server(shared)
        if self._rooms is not None:
            self._rooms.connect(self._host.pairs)
        try:
            await self._components.start()
        except ComponentError:
            await self._end(0.0, 0.0, 0.0)
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._end(0.0, 0.0, _END_SECONDS)

    def _apply(self, values: dict[str, Any]) -> None:
        """Take over other dynamic variables.

        Raises:
            ConfigError: They have mistakes; nothing has changed.
        """
        self._values = self._validated(values)
        self._follow(self._snapshot.generation + 1)
        self._server.config_changed()
        self._components.config_updated()

    def _make_shared(self) -> Shared:
        clock, loop, thresholds, counters = self._clock, self._loop, Thresholds(), Counters()
        monotonic, wall_clock = time.monotonic, time.time
        if clock is not None:
            monotonic = wall_clock = clock.time
        self._row = row = self._scoreboard.row(0, 0, wall_clock)
        self._counters = counters
        self._turn = Turn(
            loop,
            lambda: row.publish(counters),
            lambda: row.publish_traffic(counters),
            thresholds,
            monotonic,
        )
        return Shared(
            loop,
            thresholds,
            counters,
            self._turn,
            Wheel(clock or loop, thresholds),
            Keepalive(self._get_snapshot, thresholds),
            row.count_limit,
            monotonic,
            wall_clock,
        )

    def _make_server(self, shared: Shared) -> Server:
        clock, scoreboard = self._clock, self._scoreboard
        board = ServiceBoard(
            scoreboard, self._row, scoreboard.addresses(0, 0), scoreboard.users(0, 0)
        )
        return Server(
            self._loop,
            self._service.server,
            [item for item in self._built if isinstance(item, HandlerBase)],
            shared,
            self._get_snapshot,
            board,
            self._stopping,
            Balance(board, 0),
            asyncio.timeout if clock is None else clock.timeout,
        )

    def _get_snapshot(self) -> Snapshot:
        return self._snapshot

    def _plug(self, client: asyncio.Protocol) -> None:
        """Connect a client's protocol, as the system does with a socket."""
        if self._is_stopped:
            raise ConnectionRefusedError("the worker has stopped")
        address = ("127.0.0.1", next(self._ports))
        server = self._server
        self._counters.accepted += 1
        protocol = HttpProtocol(server.services, server.registry, address, _NO_DESCRIPTOR)
        connect_pair(client, protocol, address)

    def _validated(self, values: Mapping[str, Any]) -> dict[str, Any]:
        document = read_json(json.dumps(dict(values)), "dynamic config")
        service = self._service
        loaded = fallback.load([document], service.keys, service.known_variables)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        return loaded.values

    def _follow(self, generation: int) -> None:
        self._snapshot = Snapshot(generation, self._values, self._service.keys)
        self._origin.generation = generation

    async def _reload(self) -> int:
        try:
            self._apply({**load_dynamic(self._service).values, **self._given})
        except ConfigError as error:
            raise ControlError(str(error)) from error
        return self._snapshot.generation

    def _pair_lost(self, _pair: int) -> None:
        """Give the worker another pair to its broker."""
        if self._rooms is not None and not self._is_stopped:
            self._rooms.connect(self._host.pairs)

    async def _end(self, lameduck: float, window: float, deadline: float) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        await self._server.drain.stop(lameduck, window, deadline)
        self._is_stopped = True
        await self._components.stop()
        if self._rooms is not None:
            self._rooms.close()
        self._turn.publish_now()
        for component in self._built:
            # An option may have set it, for the tests that follow as well.
            component.logger.setLevel(logging.NOTSET)
        descriptors.close(self._scoreboard.descriptor)


class _Host:
    """Does what a worker's process does for its components; see components.Host."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.slot = 0
        self.locks = Locks(worker._scoreboard.descriptor)
        self.wall_clock, self.clock = time.time, time.monotonic
        if worker._clock is not None:
            self.wall_clock = self.clock = worker._clock.time
        self.used_tickets = worker._scoreboard.used_tickets()
        self.metrics = worker._metrics
        self.pairs = BrokerPairs(worker._pair_lost)

    async def reload(self) -> int:
        return await self._worker._reload()

    def has_lost_stream(self) -> bool:
        # Rooms of a test are this process's own.
        return False

    async def report(self, report: Report) -> list[dict[str, Any]]:
        server = self._worker._server
        found = server.connections_of(report.user, report.tag)
        rows = server.describe(found, report.by, report.limit)
        if report.code is not None:
            await close_connections(found, report.code, report.reason)
        return rows


class _MemoryConfig(DynamicConfig):
    """Changes the worker's variables; when a change returns, the worker uses it."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def _values(self) -> dict[str, Any]:
        return dict(self._worker._values)

    def _apply(self, values: dict[str, Any], disabled: Collection[str]) -> None:
        try:
            self._worker._apply(values)
        except ConfigError as error:
            raise ValueError(str(error)) from error

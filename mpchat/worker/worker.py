"""A worker's life: boot, serve, drain, end.

Rules. The loop is made after the fork, never before. The supervisor is at the other end of the channel:
``Stop`` drains; the channel's end means that the supervisor is gone, and leaves a second to send Close
1001 to the clients. SIGTERM asks this one worker to retire; the supervisor starts its successor at once.
The heartbeat is a timer of the event loop itself, so it stops when the loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

import uvloop
from websockets.frames import CloseCode

from mpchat import FORM
from mpchat.components.component import START_LIMIT, Components
from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot, from_bytes
from mpchat.dynamic_config.variables import DRAIN, LOG_DYNAMIC_DEBUG, PROFILER_DEBUG
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.messages import ForkWorker, WorkerDescriptors
from mpchat.ipc.orders import Orders
from mpchat.ipc.pairing import BrokerPairs
from mpchat.ipc.reopening import report_reopened
from mpchat.ipc.reports import send_report
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.allocator import Allocator
from mpchat.linux.descriptors import Spare, grow_descriptor_table
from mpchat.linux.memfd import read_memfd
from mpchat.logs.records import Origin
from mpchat.logs.setup import WorkerLogs, set_up_worker
from mpchat.metrics.area import Area
from mpchat.metrics.memory import Memory
from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.server.server import Server
from mpchat.tls.contexts import Contexts, without_bad_names
from mpchat.tls.material import CLIENTS, unpack
from mpchat.websocket.component import ConnectionsComponent
from mpchat.websocket.keepalive import Keepalive
from mpchat.websocket.shared import Shared
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel
from mpchat.worker.forked import prepare_forks
from mpchat.worker.garbage import spread_collections
from mpchat.worker.host import Host
from mpchat.worker.kicking import close_connections
from mpchat.worker.service import Service
from mpchat.worker.watch import Watch, profile_of, stack_of_this_thread

log = logging.getLogger("mpchat.server")

_BEATS_PER_CHECK = 4
"""Beats between two checks for unused memory."""
_GENERATION_DESCRIPTORS = 2
_SPARE = 3
"""What a generation takes: its two, and then as many as a certificate needs while it is loaded"""
_LAG_SECONDS = 1.0
"""Seconds over which status shows the loop's longest lag."""


class End(enum.Enum):
    """How a worker ends."""

    NOW = "now"
    """Its clients get a moment to answer the Close"""
    STOP = "stop"
    """With the service, as MPCHAT_DRAIN says"""
    RETIRE = "retire"
    """By itself, as MPCHAT_DRAIN says: others take its clients"""

    @property
    def close_code(self) -> CloseCode:
        """What clients are closed with."""
        return CloseCode.SERVICE_RESTART if self is End.RETIRE else CloseCode.GOING_AWAY


def run_worker(
    request: ForkWorker,
    channel: Channel,
    descriptors: WorkerDescriptors,
    service: Service,
    snapshot: Snapshot,
    heartbeat: float,
    tls: Contexts | None,
    *,
    start_limit: float = START_LIMIT,
    take_signals: Callable[[], None] | None = None,
) -> None:
    """Run a worker until it has ended; the caller has forked and set the title.

    ``tls`` has the certificates of the listener, if that speaks TLS. A component may take
    ``start_limit`` seconds to start. ``take_signals`` is called in the running loop,
    which has just taken their wake-up descriptor; without it, SIGTERM is for this worker alone.
    """
    grow_descriptor_table(descriptors.scoreboard)
    allocator = Allocator()
    allocator.keep_freed_memory()
    spread_collections(request.slot)
    scoreboard = Scoreboard(descriptors.scoreboard)
    memory = Memory(descriptors.metrics)
    fds.close_all((descriptors.generation, descriptors.certificates))
    own = [descriptors.channel, descriptors.scoreboard, descriptors.fault, descriptors.metrics]
    sockets = [system.socket(fileno=fd) for fd in (descriptors.listening, descriptors.inbox)]
    counters = Counters(histograms=scoreboard.histograms(request.slot, request.row))
    name = f"{service.pool}/{request.slot}"
    logs = set_up_worker(service.logging, Origin(name, snapshot.generation))
    logs.levels.order_all(request.log_levels, request.log_locations)
    if tls is not None:
        sys.unraisablehook = without_bad_names(sys.unraisablehook)
    loop = uvloop.new_event_loop()
    values = memory.area(request.slot, request.row)
    metrics = Area(memory.declared, values, loop.call_soon_threadsafe)
    try:
        worker = _Worker(
            request,
            channel,
            scoreboard,
            metrics,
            snapshot,
            counters,
            service,
            logs,
            heartbeat,
            allocator,
            loop,
            tls,
        )
        prepare_forks(lambda: worker.held(sockets, own), sockets, metrics.leave)
        if take_signals is None:
            loop.add_signal_handler(signal.SIGTERM, worker.retire)
        else:
            loop.call_soon(take_signals)
        loop.run_until_complete(
            worker.run(sockets, descriptors.fault, stack_of_this_thread(), start_limit)
        )
    finally:
        logs.writer.stop()


class _Worker:
    def __init__(
        self,
        request: ForkWorker,
        channel: Channel,
        scoreboard: Scoreboard,
        metrics: Area,
        snapshot: Snapshot,
        counters: Counters,
        service: Service,
        logs: WorkerLogs,
        heartbeat: float,
        allocator: Allocator,
        loop: asyncio.AbstractEventLoop,
        tls: Contexts | None,
    ) -> None:
        self.channel = channel
        self.tls = tls
        self.slot = request.slot
        self.metrics = metrics
        self.snapshot = snapshot
        self.counters = counters
        self.service = service
        self.loop = loop
        self.row = scoreboard.row(request.slot, request.row)
        place = (request.slot, request.row)
        addresses, users = scoreboard.addresses(*place), scoreboard.users(*place)
        self.board = ServiceBoard(scoreboard, self.row, addresses, users)
        self.logs = logs
        self.server: Server | None = None
        self.components: Components | None = None
        self.watch: Watch | None = None
        self.orders = Orders(channel)
        self.pairs = BrokerPairs(self._lose_pair)
        self.spare = Spare(_SPARE)
        self.background: set[asyncio.Task[None]] = set()
        self.balance = Balance(self.board, request.slot)
        self.adopted: dict[int, list[socket.socket]] = {}
        """Listening sockets and inboxes of other slots, by slot"""
        self.beats = 0
        self.lags: deque[float] = deque(maxlen=max(1, round(_LAG_SECONDS / heartbeat)))
        self.heartbeat = heartbeat
        self.allocator = allocator
        self.end: asyncio.Future[End] = loop.create_future()
        self.stopping = asyncio.Event()
        self.in_a_hurry = asyncio.Event()

    def held(self, sockets: list[socket.socket], descriptors: list[int]) -> list[int]:
        """Return the service's descriptors, which no forked process may keep."""
        adopted = [source for sources in self.adopted.values() for source in sources]
        found = [sock.fileno() for sock in (*sockets, *adopted, *self.balance.outboxes())]
        found += self.pairs.held()
        return [number for number in (*found, *descriptors) if number >= 0]

    async def run(
        self,
        sockets: list[socket.socket],
        fault: int,
        stack: Callable[[], list[FrameType]],
        start_limit: float,
    ) -> None:
        service = self.service
        self.row.set("pid", os.getpid())
        self.row.set("compiled", FORM.compiled)
        self._follow_config()
        self.loop.add_reader(self.channel.fileno(), self._read)
        self.loop.set_default_executor(
            ThreadPoolExecutor(service.threads, thread_name_prefix="fs-task-processor")
        )
        row, counters, thresholds = self.row, self.counters, Thresholds()
        turn = Turn(
            self.loop,
            lambda: row.publish(counters),
            lambda: row.publish_traffic(counters),
            thresholds,
        )
        wheel = Wheel(self.loop, thresholds)
        keepalive = Keepalive(lambda: self.snapshot, thresholds)
        shared = Shared(self.loop, thresholds, counters, turn, wheel, keepalive, row.count_limit)
        # A hanging constructor blocks the loop: its stack is written before the supervisor kills us.
        faulthandler.dump_traceback_later(start_limit, file=fault)
        components = Components(
            service.components,
            lambda: self.snapshot,
            Host(self.orders, self.board.scoreboard, self.metrics, self.slot, self.pairs),
        )
        built = components.build()
        handlers = [item for item in built if isinstance(item, HandlerBase)]
        for component in built:
            if isinstance(component, ConnectionsComponent):
                component.begin(shared)
        # Constructors may have set levels; those of the dynamic config take precedence.
        self.logs.levels.apply()
        await components.start(start_limit)
        self.components = components
        faulthandler.cancel_dump_traceback_later()
        server = Server(
            self.loop,
            service.server,
            handlers,
            shared,
            lambda: self.snapshot,
            self.board,
            self.stopping,
            self.balance,
            congestion=service.congestion,
            tls=self.tls,
        )
        self.server = server
        server.accept_from(sockets)
        self.row.set("accepting", 1)
        self._beat(self.loop.time())
        threshold = service.server.slow_callback_threshold
        self.watch = watch = Watch(threshold, stack, self.loop.call_soon_threadsafe)
        self._follow_profiler(watch)
        messages.send(self.channel, messages.Ready())
        end = await self.end
        self.stopping.set()
        self.row.set("accepting", 0)
        self.balance.close()
        await self._drain(server, end)
        server.stop()
        await components.stop()
        watch.stop()
        self._count_lines()
        turn.publish_now()

    async def _drain(self, server: Server, end: End) -> None:
        if end is End.NOW:
            await server.drain.hurry(end.close_code)
            return
        numbers = self.snapshot[DRAIN]
        window, deadline = numbers.window_ms / 1000, numbers.deadline_ms / 1000
        if end is End.STOP:
            work = server.drain.stop(numbers.lameduck_ms / 1000, window, deadline)
        else:
            work = server.drain.retire(end.close_code, window, deadline)
        drain = asyncio.ensure_future(work)
        hurry = asyncio.ensure_future(self.in_a_hurry.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if drain.done():
            drain.result()
            return
        drain.cancel()
        await asyncio.wait((drain,))
        await server.drain.hurry(end.close_code)

    def _read(self) -> None:
        try:
            with self.spare:
                while (received := messages.receive(self.channel)) is not None:
                    self._on_message(*received)
        except ChannelClosed:
            self.loop.remove_reader(self.channel.fileno())
            self.in_a_hurry.set()
            self._finish(End.NOW)

    def _on_message(self, message: messages.Message, descriptors: list[int]) -> None:
        match message:
            case messages.Generation():
                try:
                    self._apply(message.number, descriptors)
                finally:
                    # Whatever failed: a worker that names an older number is sent this one again, and
                    # nothing at all is sent to a silent one.
                    messages.send(self.channel, messages.Applied(self.snapshot.generation))
            case messages.Inboxes():
                # Without free descriptors there are none, and clients stay here.
                for slot, descriptor in enumerate(descriptors, message.first):
                    outbox = system.socket(fileno=descriptor)
                    if self.end.done():
                        outbox.close()
                    else:
                        self.balance.add(slot, outbox)
            case messages.Adopt() if descriptors:
                self._adopt(message.slot, [system.socket(fileno=item) for item in descriptors])
            case messages.Adopt():
                messages.send(self.channel, messages.NotAdopted(message.slot))
            case messages.GiveBack():
                for source in self.adopted.pop(message.slot, []):
                    if self.server is not None and not self.end.done():
                        self.server.stop_accepting_from(source)
            case messages.BrokerPair():
                self.pairs.arrived(message, descriptors)
            case messages.Report() if descriptors:
                self._report(message, descriptors[0])
            case messages.ReportRequests() if descriptors:
                self._report_requests(message, descriptors[0])
            case messages.OrderDone():
                self.orders.done(message)
            case messages.ReopenLogs():
                self.logs.reopen(partial(report_reopened, descriptors))
            case messages.LogLevel():
                self.logs.levels.order(message.logger, message.level)
            case messages.DebugLog():
                self.logs.levels.locate(message.location, message.state)
            case messages.Retire():
                self.retire()
            case messages.Stop():
                if message.now:
                    self.in_a_hurry.set()
                self._finish(End.NOW if message.now else End.STOP)
            case messages.Report() | messages.ReportRequests():
                pass  # No free descriptor for the report: who asks names this worker as silent.
            case _:
                raise ValueError(f"the supervisor sent {type(message).__name__}")

    def _lose_pair(self, pair: int) -> None:
        with contextlib.suppress(ChannelClosed):
            # The channel's reader notices its end.
            messages.send(self.channel, messages.PairLost(pair))

    def _report(self, message: messages.Report, descriptor: int) -> None:
        """List connections, and close them if that is asked for."""
        server = self.server
        found = server.connections_of(message.user, message.tag) if server is not None else []
        rows = server.describe(found, message.by, message.limit) if server is not None else []
        self._spawn(send_report(descriptor, rows))
        if message.code is not None:
            self._spawn(close_connections(found, message.code, message.reason))

    def _report_requests(self, message: messages.ReportRequests, descriptor: int) -> None:
        server = self.server
        rows = (
            server.describe_requests(opened=message.open, with_body=message.body)
            if server is not None
            else ()
        )
        self._spawn(send_report(descriptor, rows))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    def _adopt(self, slot: int, sources: list[socket.socket]) -> None:
        if self.server is None or self.end.done():
            # This worker is about to end. The supervisor asks a sibling when it learns that.
            for source in sources:
                source.close()
            return
        self.adopted[slot] = sources
        self.server.accept_from(sources)

    def _apply(self, number: int, descriptors: list[int]) -> None:
        """Take a generation, all of it or nothing."""
        if len(descriptors) != _GENERATION_DESCRIPTORS:
            fds.close_all(descriptors)
            return
        try:
            try:
                values, certificates = map(read_memfd, descriptors)
            finally:
                # Before certificates are loaded: that takes descriptors, too.
                fds.close_all(descriptors)
            snapshot = Snapshot(number, from_bytes(values), self.service.keys)
            if self.tls is not None:
                self.tls.use(unpack(certificates)[CLIENTS])
        except (OSError, MemoryError):
            log.exception("generation %d of the dynamic config cannot be taken now", number)
            return
        self.snapshot = snapshot
        self._follow_config()
        if self.components is not None:
            self.components.config_updated()

    def _follow_config(self) -> None:
        self.logs.levels.force(self.snapshot[LOG_DYNAMIC_DEBUG].levels())
        if self.server is not None:
            self.server.config_changed()
        if self.watch is not None:
            self._follow_profiler(self.watch)
        self.logs.origin.generation = self.snapshot.generation
        self.row.set("generation", self.snapshot.generation)

    def _follow_profiler(self, watch: Watch) -> None:
        watch.follow(profile_of(self.snapshot[PROFILER_DEBUG], self.service.pool))

    def retire(self) -> None:
        if not self.end.done():
            if self.server is not None:
                self.server.leave()
            messages.send(self.channel, messages.Retiring())
            self._finish(End.RETIRE)

    def _finish(self, end: End) -> None:
        if not self.end.done():
            self.end.set_result(end)

    def _count_lines(self) -> None:
        counters, writer = self.counters, self.logs.writer
        counters.log_lines_dropped = writer.lost
        (
            counters.log_lines_trace,
            counters.log_lines_debug,
            counters.log_lines_info,
            counters.log_lines_warning,
            counters.log_lines_error,
            counters.log_lines_critical,
        ) = writer.lines_by_level()

    def _beat(self, due: float) -> None:
        now = self.loop.time()
        self.beats += 1
        self.lags.append(now - due)
        self.counters.histograms.lag.observe(max(0, int((now - due) * 1_000_000)))
        self.row.set("heartbeat", self.beats)
        self.row.set("beat_at", int(time.monotonic() * 1000))
        self.row.set("lag_us", int(max(self.lags) * 1_000_000))
        self._count_lines()
        self.row.publish(self.counters)
        if self.beats % _BEATS_PER_CHECK == 0:
            self.allocator.return_unused()
        if self.channel.has_waiting:
            with contextlib.suppress(ChannelClosed):
                # The channel's reader notices its end.
                self.channel.flush()
        due = now + self.heartbeat
        self.loop.call_at(due, self._beat, due)

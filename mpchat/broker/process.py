"""The broker's process: its loop, its channel to the supervisor, its place in the scoreboard.

Rules. Nothing is repaired here. An exception in any callback of the loop ends the process at once, before
another callback runs: the next broker recovers what is stored, and the workers repeat the rest to it. The
end of the channel is the supervisor's death, and ours.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import uvloop

from mpchat.broker.broker import Broker
from mpchat.broker.history import History
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import Broker as PairBroker
from mpchat.broker.pairs import Pair, connect
from mpchat.broker.reading import Limits
from mpchat.broker.store import Store
from mpchat.broker.unstored import Unstored
from mpchat.errors import describe_failure
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.messages import BrokerDescriptors, ForkBroker
from mpchat.ipc.reopening import report_reopened
from mpchat.ipc.reports import send_report
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.allocator import Allocator
from mpchat.linux.descriptors import Spare
from mpchat.logs.options import LoggingOptions
from mpchat.logs.records import Origin
from mpchat.logs.setup import set_up_direct
from mpchat.rooms.options import RoomsOptions
from mpchat.scoreboard.broker import COUNTERS
from mpchat.scoreboard.scoreboard import Scoreboard

_SECOND = 1.0
"""Seconds between two marks; quiet rooms keep their positions by them."""
_FOREVER = 1 << 53
"""Milliseconds of a history without a limit of age."""

log = logging.getLogger("mpchat.broker")


def run_broker(
    request: ForkBroker,
    channel: Channel,
    descriptors: BrokerDescriptors,
    logging_options: LoggingOptions,
    options: RoomsOptions,
    heartbeat: float,
) -> None:
    """Run a broker of the engine ``host`` until it has ended; the caller has forked and set the title.

    ``heartbeat``: seconds between two beats.
    """
    process = BrokerProcess(request, channel, descriptors, logging_options, options)
    history = history_of(descriptors.history, options)
    if history.damage:
        log.error("the history of the rooms is damaged: %s", history.damage)
    # What was recovered stays: no collection has to look at it.
    gc.freeze()
    loop = process.loop
    process.serve(Broker(history, process.options, loop.call_soon, broken=process.broken))
    loop.run_until_complete(process.run(heartbeat))


def options_of(options: RoomsOptions) -> BrokerOptions:
    """Return what the broker needs of the component's options."""
    age = round(options.history_age * 1000) or _FOREVER
    return BrokerOptions(
        history=Limits(options.history_size, options.history_bytes, age),
        max_rooms=options.max_rooms,
        max_members=options.max_members,
        worker_backlog=options.worker_backlog,
        publish_timeout=options.publish_timeout,
        presence=options.presence,
    )


def history_of(descriptor: int | None, options: RoomsOptions) -> Store:
    """Return the history in a file, recovered, or one that keeps nothing."""
    if descriptor is None:
        return Unstored()
    return History(descriptor, most_keys=options.max_client_ids)


def _fail(fault: int, context: dict[str, Any]) -> None:
    """End now: after a turn that was not completed, nothing that we say would be true."""
    error = context.get("exception")
    text = describe_failure(error) if error is not None else f"{context['message']}\n"
    try:
        system.write(fault, text.encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


class Engine(PairBroker, Protocol):
    """What orders the rooms."""

    def adopt(self, pair: Pair) -> None:
        """Take a pair, in place of any older one to the same worker."""

    def worker_gone(self, incarnation: int) -> None:
        """That worker has ended."""

    def second(self) -> None:
        """Do what is done each second."""

    def status(self) -> Mapping[str, int]:
        """Return numbers for operators, as the scoreboard names them; counters of this engine alone."""

    def busiest(self, by: str, limit: int) -> list[dict[str, Any]]:
        """Return rows of rooms, largest first."""


class BrokerProcess:
    """The process of an engine, which may come later than its first pairs.

    Attributes:
        number: Of this incarnation of the broker; the first one has 1.
        end: Set when the process is to end.
    """

    def __init__(
        self,
        request: ForkBroker,
        channel: Channel,
        descriptors: BrokerDescriptors,
        logging_options: LoggingOptions,
        options: RoomsOptions,
    ) -> None:
        # A history's pages are large blocks, as a worker's messages are.
        self._allocator = Allocator()
        self._allocator.keep_freed_memory()
        self._logs = set_up_direct(logging_options, Origin("broker"))
        self._logs.levels.order_all(request.log_levels, request.log_locations)
        self.number = request.number
        self.loop = loop = uvloop.new_event_loop()
        loop.set_exception_handler(lambda _loop, context: _fail(descriptors.fault, context))
        self.channel = channel
        self.board = Scoreboard(descriptors.scoreboard)
        self.options = options_of(options)
        self.end: asyncio.Future[None] = loop.create_future()
        self._spare = Spare()
        self._engine: Engine | None = None
        self._early: list[tuple[messages.RoomsPair, socket.socket]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._beats = 0
        self._before = {name: self.board.broker(name) for name in COUNTERS}

    def serve(self, engine: Engine) -> None:
        """Let the engine have all pairs from now on."""
        self._engine = engine
        early, self._early = self._early, []
        for pair, sock in early:
            self._adopt(engine, pair, sock)

    async def run(self, heartbeat: float) -> None:
        """Begin, and serve until the supervisor says so, or is gone."""
        self.begin(heartbeat)
        self.ready()
        await self.end

    def begin(self, heartbeat: float) -> None:
        """Listen to the supervisor, and show that the loop turns each ``heartbeat`` seconds."""
        self.loop.add_reader(self.channel.fileno(), self._read)
        self._beat(heartbeat)
        self._second()

    def ready(self) -> None:
        """Say that pairs are served."""
        messages.send(self.channel, messages.Ready())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; if it fails, the process ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def broken(self, pair: Pair) -> None:
        """Have the supervisor send this pair's worker another one."""
        messages.send(self.channel, messages.PairLost(pair.number))

    def _read(self) -> None:
        try:
            with self._spare:
                while (received := messages.receive(self.channel)) is not None:
                    self._on_message(*received)
        except ChannelClosed:
            self._finish()

    def _on_message(self, message: messages.Message, descriptors: list[int]) -> None:
        match message:
            case messages.RoomsPair():
                if descriptors:
                    self._take(message, descriptors[0])
                else:
                    messages.send(self.channel, messages.PairLost(message.pair))
            case messages.WorkerGone():
                self._worker_gone(message.incarnation)
            case messages.ReportRooms() if descriptors:
                self.spawn(self._report(descriptors[0], message))
            case messages.ReopenLogs():
                report_reopened(descriptors, self._logs.reopen())
            case messages.LogLevel():
                self._logs.levels.order(message.logger, message.level)
            case messages.DebugLog():
                self._logs.levels.locate(message.location, message.state)
            case messages.Stop():
                self._finish()
            case _:
                fds.close_all(descriptors)

    def _take(self, message: messages.RoomsPair, descriptor: int) -> None:
        sock = system.socket(fileno=descriptor)
        system.setblocking(sock, False)
        if self._engine is None:
            self._worker_gone(message.incarnation)
            self._early.append((message, sock))
        else:
            self._adopt(self._engine, message, sock)

    def _adopt(self, engine: Engine, message: messages.RoomsPair, sock: socket.socket) -> None:
        pair = Pair(
            engine,
            sock,
            number=message.pair,
            incarnation=message.incarnation,
            slot=message.slot,
            backlog=self.options.worker_backlog,
        )
        engine.adopt(pair)
        self.spawn(connect(self.loop, pair, sock))

    def _worker_gone(self, incarnation: int) -> None:
        if self._engine is not None:
            self._engine.worker_gone(incarnation)
        for early in [one for one in self._early if one[0].incarnation == incarnation]:
            self._early.remove(early)
            early[1].close()

    async def _report(self, descriptor: int, request: messages.ReportRooms) -> None:
        rows = [] if self._engine is None else self._engine.busiest(request.by, request.limit)
        try:
            await send_report(descriptor, rows)
        except OSError as error:
            # Whoever asked gave no socket: no reason for a broker to end.
            log.warning("a list of rooms could not be sent: %s", error)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # An exception is the loop's: it ends the process.
        task.result()

    def _finish(self) -> None:
        self.loop.remove_reader(self.channel.fileno())
        if not self.end.done():
            self.end.set_result(None)

    def _beat(self, heartbeat: float) -> None:
        self._beats += 1
        board = self.board
        board.set_broker("heartbeat", self._beats)
        board.set_broker("beat_at", int(time.monotonic() * 1000))
        if self._engine is not None:
            for name, value in self._engine.status().items():
                board.set_broker(name, self._before.get(name, 0) + value)
        if self.channel.has_waiting:
            self.channel.flush()
        self.loop.call_later(heartbeat, self._beat, heartbeat)

    def _second(self) -> None:
        if self._engine is not None:
            self._engine.second()
        self._allocator.return_unused()
        self.loop.call_later(_SECOND, self._second)

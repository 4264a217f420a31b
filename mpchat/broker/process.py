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
import time
from typing import Any

import uvloop

from mpchat.broker.broker import Broker
from mpchat.broker.history import History
from mpchat.broker.options import BrokerOptions
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
from mpchat.logs.setup import DirectLogs, set_up_direct
from mpchat.rooms.options import RoomsOptions
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
    """Run a broker until it has ended; the caller has forked and set the title.

    ``heartbeat``: seconds between two beats.
    """
    # A history's pages are large blocks, as a worker's messages are.
    allocator = Allocator()
    allocator.keep_freed_memory()
    logs = set_up_direct(logging_options, Origin("broker"))
    logs.levels.order_all(request.log_levels)
    history = history_of(descriptors.history, options)
    if history.damage:
        log.error("the history of the rooms is damaged: %s", history.damage)
    # What was recovered stays: no collection has to look at it.
    gc.freeze()
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(lambda _loop, context: _fail(descriptors.fault, context))
    process = _Process(
        loop, channel, logs, Scoreboard(descriptors.scoreboard), allocator, history, options
    )
    loop.run_until_complete(process.run(heartbeat))


def options_of(options: RoomsOptions) -> BrokerOptions:
    """Return what the broker needs of the component's options."""
    age = round(options.history_age * 1000) or _FOREVER
    return BrokerOptions(
        history=Limits(options.history_size, options.history_bytes, age),
        max_rooms=options.max_rooms,
        max_members=options.max_members,
        worker_backlog=options.worker_backlog,
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


class _Process:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        logs: DirectLogs,
        board: Scoreboard,
        allocator: Allocator,
        history: Store,
        options: RoomsOptions,
    ) -> None:
        self.loop = loop
        self.channel = channel
        self.logs = logs
        self.board = board
        self.allocator = allocator
        self.spare = Spare()
        self.options = options_of(options)
        self.broker = Broker(history, self.options, loop.call_soon, broken=self._broken)
        self.end: asyncio.Future[None] = loop.create_future()
        self.tasks: set[asyncio.Task[None]] = set()
        self.beats = 0
        self.messages_before = board.broker("messages")

    async def run(self, heartbeat: float) -> None:
        """Serve until the supervisor says so, or is gone."""
        self.loop.add_reader(self.channel.fileno(), self._read)
        self._beat(heartbeat)
        self._second()
        messages.send(self.channel, messages.Ready())
        await self.end

    def _read(self) -> None:
        try:
            with self.spare:
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
                self.broker.worker_gone(message.incarnation)
            case messages.ReportRooms() if descriptors:
                self._spawn(self._report(descriptors[0], message))
            case messages.ReopenLogs():
                report_reopened(descriptors, self.logs.reopen())
            case messages.LogLevel():
                self.logs.levels.order(message.logger, message.level)
            case messages.Stop():
                self._finish()
            case _:
                fds.close_all(descriptors)

    def _take(self, message: messages.RoomsPair, descriptor: int) -> None:
        sock = system.socket(fileno=descriptor)
        system.setblocking(sock, False)
        pair = Pair(
            self.broker,
            sock,
            number=message.pair,
            incarnation=message.incarnation,
            slot=message.slot,
            backlog=self.options.worker_backlog,
        )
        self.broker.adopt(pair)
        self._spawn(connect(self.loop, pair, sock))

    async def _report(self, descriptor: int, request: messages.ReportRooms) -> None:
        try:
            await send_report(descriptor, self.broker.busiest(request.by, request.limit))
        except OSError as error:
            # Whoever asked gave no socket: no reason for a broker to end.
            log.warning("a list of rooms could not be sent: %s", error)

    def _broken(self, pair: Pair) -> None:
        messages.send(self.channel, messages.PairLost(pair.number))

    def _spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        # An exception is the loop's: it ends the process.
        task.result()

    def _finish(self) -> None:
        self.loop.remove_reader(self.channel.fileno())
        if not self.end.done():
            self.end.set_result(None)

    def _beat(self, heartbeat: float) -> None:
        self.beats += 1
        board = self.board
        board.set_broker("heartbeat", self.beats)
        board.set_broker("beat_at", int(time.monotonic() * 1000))
        board.set_broker("messages", self.messages_before + self.broker.published)
        for name, value in self.broker.status().items():
            board.set_broker(name, value)
        if self.channel.has_waiting:
            self.channel.flush()
        self.loop.call_later(heartbeat, self._beat, heartbeat)

    def _second(self) -> None:
        self.broker.second()
        self.allocator.return_unused()
        self.loop.call_later(_SECOND, self._second)

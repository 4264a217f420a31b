"""The console's process: it listens to the supervisor, beats, and serves operators.

Rules. No author's code, no client of the service. It needs nothing of the workers to answer. When the
supervisor is gone, it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import socket
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import uvloop
from aiohttp import web

from mpchat import __version__
from mpchat.config_service.client import Client
from mpchat.config_service.numbers import Numbers
from mpchat.config_service.options import ConfigServicePlan
from mpchat.config_service.updater import Updater
from mpchat.console.app import build
from mpchat.console.knowledge import Knowledge
from mpchat.console.options import ConsoleHandlerOptions, ConsolePlan
from mpchat.console.page.feed import Feed
from mpchat.console.remote import RemoteConfig
from mpchat.dynamic_config.in_force import take
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import Snapshot, from_bytes
from mpchat.dynamic_config.variables import LOG_DYNAMIC_DEBUG
from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.messages import ConsoleDescriptors, ForkConsole
from mpchat.ipc.orders import Orders
from mpchat.ipc.reopening import report_reopened
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memfd import read_memfd
from mpchat.logs.options import LoggingOptions
from mpchat.logs.records import Origin
from mpchat.logs.setup import set_up_direct
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.status import ConsolePlace, Status
from mpchat.server.options import MonitorListenerOptions
from mpchat.tls.contexts import Contexts, without_bad_names
from mpchat.tls.material import OPERATORS, unpack

_CLOSE_SECONDS = 0.5
"""Seconds for requests that are being answered when the console ends."""
_CONFIG_DESCRIPTORS = 2

log = logging.getLogger("mpchat.console")


def run_console(
    request: ForkConsole,
    channel: Channel,
    descriptors: ConsoleDescriptors,
    plan: ConsolePlan,
    logging_options: LoggingOptions,
    pool: str,
    hang_timeout: float,
    heartbeat: float,
    keys: Sequence[Key[Any]],
    loggers: Mapping[str, int],
    tls: Contexts | None,
) -> None:
    """Run the console until the supervisor ends it; the caller has forked and set the title.

    ``tls`` has the certificates of its listener, if that speaks TLS.
    ``loggers`` are those that workers make for components, with the levels of their options, else 0.
    """
    logs = set_up_direct(logging_options, Origin("console"))
    for name, level in loggers.items():
        logger = logging.getLogger(name)
        if level:
            logger.setLevel(level)
    logs.levels.order_all(request.log_levels, request.log_locations)
    if tls is not None:
        sys.unraisablehook = without_bad_names(sys.unraisablehook)
    board = Scoreboard(descriptors.scoreboard)
    place = ConsolePlace(request.console_address)
    status = Status(
        __version__, board, request.address, pool, request.supervisor, hang_timeout, place
    )
    orders = Orders(channel)
    known = Knowledge(status, board, orders, logs, pool, tuple(keys))
    listening = descriptors.listening
    sock = system.socket(fileno=listening) if listening is not None else None
    fds.close(descriptors.certificates)
    console = Console(channel, orders, known, heartbeat, tls)
    uvloop.run(console.serve(plan, sock))


class Console:
    """The process, between the supervisor and the application."""

    def __init__(
        self,
        channel: Channel,
        orders: Orders,
        known: Knowledge,
        heartbeat: float,
        tls: Contexts | None,
    ) -> None:
        self._tls = tls
        self._channel = channel
        self._orders = orders
        self._known = known
        self._heartbeat = heartbeat
        self._beats = 0
        self._end = asyncio.Event()

    async def serve(self, plan: ConsolePlan, listening: socket.socket | None) -> None:
        """Serve until the supervisor says so, or is gone; without a socket, nobody can ask."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._read)
        # The supervisor has sent the memories of metrics before it asked for this process.
        self._read()
        self._beat()
        async with contextlib.AsyncExitStack() as cleanup:
            if plan.listener is not None and listening is not None:
                await self._listen(plan.listener, plan.handlers, listening, cleanup)
            if plan.config_service is not None:
                self._run(self._updater(plan.config_service).run(), cleanup)
            # What is loaded stays: a full collection would look at it all, and a scrape would wait.
            gc.freeze()
            messages.send(self._channel, messages.Ready())
            await self._end.wait()

    async def _listen(
        self,
        listener: MonitorListenerOptions,
        handlers: Mapping[str, ConsoleHandlerOptions],
        listening: socket.socket,
        cleanup: contextlib.AsyncExitStack,
    ) -> None:
        """Begin to answer requests."""
        feed = Feed(self._known)
        self._run(feed.run(), cleanup)
        app = build(listener, handlers, self._known, feed)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        cleanup.push_async_callback(runner.cleanup)
        context = self._tls.base if self._tls is not None else None
        site = web.SockSite(runner, listening, ssl_context=context, backlog=listener.backlog)
        await site.start()

    def _updater(self, plan: ConfigServicePlan) -> Updater:
        """Return what follows the config service."""
        return Updater(
            plan,
            Client(plan.client, asyncio.sleep, random.randrange).fetch,
            RemoteConfig(self._known, plan.client.config_url),
            Numbers(self._known.board),
            time.monotonic,
            asyncio.sleep,
            random.uniform,
        )

    def _run(self, work: Coroutine[Any, Any, None], cleanup: contextlib.AsyncExitStack) -> None:
        """Run what only ends by a mistake, and then the console ends, too: the next one begins anew."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._end.set())
        cleanup.push_async_callback(_cancel, task)

    def _read(self) -> None:
        try:
            while (received := messages.receive(self._channel)) is not None:
                self._on_message(*received)
        except ChannelClosed:
            self._finish()

    def _on_message(self, message: messages.Message, descriptors: list[int]) -> None:
        known = self._known
        match message:
            case messages.DynamicConfig():
                self._follow_config(message, descriptors)
            case messages.MetricsMemories():
                self._replace_memories(descriptors)
            case messages.Event():
                known.events.add(message)
            case messages.OrderDone():
                self._orders.done(message)
            case messages.ReopenLogs():
                report_reopened(descriptors, known.logs.reopen())
            case messages.LogLevel():
                known.logs.levels.order(message.logger, message.level)
            case messages.DebugLog():
                known.logs.levels.locate(message.location, message.state)
            case messages.Stop():
                self._finish()
            case _:
                fds.close_all(descriptors)

    def _follow_config(self, message: messages.DynamicConfig, descriptors: list[int]) -> None:
        if len(descriptors) != _CONFIG_DESCRIPTORS:
            fds.close_all(descriptors)
            self._give_up("the dynamic config", "no descriptor is left")
            return
        memfd, certificates = descriptors
        try:
            config = take(message, memfd)
            material = unpack(read_memfd(certificates)).get(OPERATORS)
            # While a restart adds or removes TLS, this process is of the edition before.
            if self._tls is not None and material is not None:
                self._tls.use(material)
        except OSError as error:
            self._give_up("the dynamic config", describe_os_error(error))
            return
        finally:
            fds.close(certificates)
        self._known.config = config
        self._known.status.certificates = message.certificates
        # So that this process knows the levels that loggers have in workers.
        snapshot = Snapshot(config.generation, from_bytes(config.content), (LOG_DYNAMIC_DEBUG,))
        self._known.logs.levels.force(snapshot[LOG_DYNAMIC_DEBUG].levels())

    def _replace_memories(self, descriptors: list[int]) -> None:
        """Read other memories of metrics."""
        why = "" if descriptors else "no descriptor is left"
        try:
            self._known.authors.replace(descriptors)
        except OSError as error:
            why = describe_os_error(error)
        if why:
            self._give_up("new memories of metrics", why)

    def _give_up(self, what: str, why: str) -> None:
        """End: the supervisor takes what it has sent for read, and tells the next console all anew."""
        log.error("%s cannot be read: %s", what, why)
        self._finish()

    def _finish(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._end.set()

    def _beat(self) -> None:
        self._beats += 1
        board = self._known.board
        board.set_service("console_heartbeat", self._beats)
        board.set_service("console_beat_at", int(time.monotonic() * 1000))
        if self._channel.has_waiting and not self._end.is_set():
            self._flush()
        asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _flush(self) -> None:
        """Send what the channel did not take at once."""
        try:
            self._channel.flush()
        except ChannelClosed:
            self._finish()


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; a mistake that has ended it is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

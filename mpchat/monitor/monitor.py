"""The monitor's loop: the control socket, and a pidfd of every process in case the supervisor dies.

Rules. No client port, no author's code. ``Watch`` names the processes. If the channel ends without
``Stop``, the supervisor has died: workers get time to close their connections, then the monitor kills the
remaining processes (a stuck worker would keep the port) and removes socket files.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any

from mpchat import __version__
from mpchat.config.settings import Setting
from mpchat.dynamic_config import in_force
from mpchat.dynamic_config.in_force import ConfigInForce
from mpchat.dynamic_config.keys import Key
from mpchat.errors import StartError
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.control import ControlError
from mpchat.ipc.messages import ForkMonitor, MonitorDescriptors
from mpchat.ipc.orders import Orders
from mpchat.ipc.reopening import report_reopened
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.socket_file import SocketFile
from mpchat.logs.options import LoggingOptions
from mpchat.logs.records import Origin
from mpchat.logs.setup import DirectLogs, set_up_direct
from mpchat.monitor.control import Control
from mpchat.monitor.listening import listen
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.status import ConsolePlace, Status

_FLUSH_SECONDS = 0.5

log = logging.getLogger("mpchat.monitor")


def run_monitor(
    request: ForkMonitor,
    channel: Channel,
    descriptors: MonitorDescriptors,
    pool: str,
    logging_options: LoggingOptions,
    orphan_limit: float,
    hang_timeout: float,
    settings: Sequence[Setting],
    keys: Sequence[Key[Any]],
    console_missing: str,
) -> None:
    """Run the monitor; the caller has forked, closed the template's descriptors and set the title.

    ``console_missing``: why there is no console although the config has a section for it.
    """
    logs = set_up_direct(logging_options, Origin("monitor"))
    logs.levels.order_all(request.log_levels, request.log_locations)
    try:
        listening, file = _listening(request.control_socket, descriptors.listening)
    except StartError as error:
        messages.send(channel, messages.Failure(error.exit_code, f"mpchat: {error}"))
        return
    files = [file]
    watched = _Watched()
    orders = Orders(channel)
    status = Status(
        __version__,
        Scoreboard(descriptors.scoreboard),
        request.address,
        pool,
        request.supervisor,
        hang_timeout,
        ConsolePlace(request.console_address, console_missing),
    )
    config = _Config(orders, keys)
    control = Control(status, orders, settings, config.describe)
    try:
        if asyncio.run(_serve(channel, watched, orders, config, logs, status, control, listening)):
            # The files now belong to our successor.
            return
    except ChannelClosed:
        watched.kill_after(orphan_limit)
        files += [SocketFile(**file) for file in request.socket_files]
    for file in files:
        try:
            file.remove()
        except OSError as error:
            # The next service at this path takes it over.
            log.warning("the socket file %s stays: %s", file.path, error.strerror)


def _listening(path: str, inherited: int | None) -> tuple[socket.socket, SocketFile]:
    """Return our predecessor's listening socket, or a new one if there is none or its file is gone."""
    if inherited is not None:
        with contextlib.suppress(FileNotFoundError):
            file = SocketFile.of(path)
            return system.socket(fileno=inherited), file
        fds.close(inherited)
    return listen(path)


async def _serve(
    channel: Channel,
    watched: _Watched,
    orders: Orders,
    config: _Config,
    logs: DirectLogs,
    status: Status,
    control: Control,
    listening: socket.socket,
) -> bool:
    """Serve until asked to end; return whether a successor takes over."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[bool] = loop.create_future()
    abandoned = asyncio.Event()

    def read() -> None:
        try:
            while (received := messages.receive(channel)) is not None:
                message, descriptors = received
                match message:
                    case messages.Stop():
                        loop.remove_reader(channel.fileno())
                        end.set_result(False)
                        return
                    case messages.Retire():
                        end.set_result(True)
                    case messages.Watch() if descriptors:
                        watched.add(message.pid, descriptors[0])
                    case messages.Unwatch():
                        watched.forget(message.pid)
                    case messages.Certificates():
                        status.certificates = message.shown
                    case messages.DynamicConfig() if descriptors:
                        config.take(message, descriptors[0])
                    case messages.OrderDone():
                        orders.done(message)
                    case messages.ReopenLogs():
                        report_reopened(descriptors, logs.reopen())
                    case messages.LogLevel():
                        logs.levels.order(message.logger, message.level)
                    case messages.DebugLog():
                        logs.levels.locate(message.location, message.state)
        except ChannelClosed as error:
            loop.remove_reader(channel.fileno())
            abandoned.set()
            if not end.done():
                end.set_exception(error)

    async def flush() -> None:
        """Send messages that the channel did not take at once; the channel's reader notices its end."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            with contextlib.suppress(ChannelClosed):
                channel.flush()

    loop.add_reader(channel.fileno(), read)
    # The supervisor has told of the certificates before it asked for this process.
    read()
    flushing = asyncio.create_task(flush())
    async with control.listening(listening):
        messages.send(channel, messages.Ready(), [listening.fileno()])
        retires = await end
        if retires:
            # Pending orders are answered, unless the supervisor dies meanwhile.
            waiting = [asyncio.create_task(work) for work in (control.retire(), abandoned.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        flushing.cancel()
        return retires


class _Config:
    """The dynamic config in force, as the supervisor tells it when it is asked."""

    def __init__(self, orders: Orders, keys: Sequence[Key[Any]]) -> None:
        self._orders = orders
        self._keys = keys
        self._told: ConfigInForce | None = None

    def take(self, message: messages.DynamicConfig, descriptor: int) -> None:
        """Note what the supervisor has told, just before it answers the order."""
        try:
            self._told = in_force.take(message, descriptor)
        except OSError as error:
            # Whoever asks is told to ask again.
            log.warning("the dynamic config cannot be read now: %s", error.strerror)

    async def describe(self) -> dict[str, Any]:
        """Ask for it, and return it for operators."""
        before = self._told
        await self._orders.give("dynamic-config")
        if self._told is None or self._told is before:
            raise ControlError("the dynamic config did not arrive: ask again in a moment")
        return self._told.describe(self._keys)


class _Watched:
    """A pidfd of every process of the service."""

    def __init__(self) -> None:
        self._pidfds: dict[int, int] = {}

    def add(self, pid: int, pidfd: int) -> None:
        self.forget(pid)
        self._pidfds[pid] = pidfd

    def forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            fds.close(pidfd)

    def kill_after(self, seconds: float) -> None:
        """Wait for all processes to end, and kill those that have not."""
        log.error("the supervisor is gone: processes still alive after %g s are killed", seconds)
        deadline = time.monotonic() + seconds
        for pid, pidfd in self._pidfds.items():
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if _has_ended(poller, deadline - time.monotonic()):
                continue
            log.warning("pid %d is killed: it outlived the supervisor", pid)
            try:
                system.pidfd_send_signal(pidfd, signal.SIGKILL)
            except OSError as error:
                # It has just ended, or the system does not allow it; continue with the others.
                log.warning("pid %d: %s", pid, error.strerror)


def _has_ended(poller: select.poll, seconds: float) -> bool:
    try:
        return bool(system.poll(poller, max(0.0, seconds) * 1000))
    except OSError as error:
        log.warning("cannot wait for a process to end: %s", error.strerror)
        return False

"""Fork requests: made when the policy decides so, sent once a template can carry them out.

Rules. The child's end of a channel is kept here until its request is sent. The newest generation may
change meanwhile, so it is attached only then. A request that the system refuses to send is sent a moment
later.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import (
    ForkBroker,
    ForkConsole,
    ForkMonitor,
    ForkWorker,
    WorkerDescriptors,
)
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.log_orders import LogOrders
from mpchat.supervisor.memories import Memories
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.timing import Timing


@dataclass(frozen=True)
class _Worker:
    child: Child
    far: int
    """The child's end of its channel"""
    listening: socket.socket
    inbox: socket.socket


@dataclass(frozen=True)
class _Monitor:
    child: Child
    far: int
    sockets: Sockets
    control: int | None
    """The listening socket of its predecessor"""


@dataclass(frozen=True)
class _Broker:
    child: Child
    far: int
    history: int | None
    """The memfd of the rooms' history"""


@dataclass(frozen=True)
class _Console:
    child: Child
    far: int
    sockets: Sockets


class Forks:
    """The requests that wait for a template.

    Attributes:
        retry_at: When ``flush`` is to be called again, since the system refused to send a request.
    """

    def __init__(
        self,
        timing: Timing,
        log: Log,
        scoreboard: Scoreboard,
        family: Family,
        editions: Editions,
        memories: Memories,
        log_orders: LogOrders,
        clock: Callable[[], float],
    ) -> None:
        self.retry_at: float | None = None
        self._timing = timing
        self._log = log
        self._scoreboard = scoreboard
        self._family = family
        self._editions = editions
        self._memories = memories
        self._log_orders = log_orders
        self._clock = clock
        self._waiting: list[_Worker | _Monitor | _Broker | _Console] = []

    def request_worker(
        self,
        name: str,
        number: int,
        slot: int,
        row: int,
        listening: socket.socket,
        inbox: socket.socket,
    ) -> Child:
        """Return a worker that will be forked.

        Raises:
            OSError: The system refuses a channel or a memfd; nothing is left behind.
        """
        child, far = _unborn(name, Role.WORKER)
        child.number, child.slot, child.row = number, slot, row
        self._waiting.append(_Worker(child, far, listening, inbox))
        return child

    def request_monitor(self, sockets: Sockets, control: int | None) -> Child:
        """Return a monitor that will be forked; ``control`` is its predecessor's listening socket.

        Raises:
            OSError: As for a worker.
        """
        child, far = _unborn("monitor", Role.MONITOR)
        self._waiting.append(_Monitor(child, far, sockets, control))
        return child

    def request_broker(self, number: int, history: int | None) -> Child:
        """Return a broker that will be forked; ``history`` stays open until ``forget`` or the fork.

        Raises:
            OSError: As for a worker.
        """
        child, far = _unborn("broker", Role.BROKER)
        child.number = number
        self._waiting.append(_Broker(child, far, history))
        return child

    def request_console(self, sockets: Sockets) -> Child:
        """Return a console that will be forked.

        Raises:
            OSError: As for a worker.
        """
        child, far = _unborn("console", Role.CONSOLE)
        self._waiting.append(_Console(child, far, sockets))
        return child

    def flush(self) -> None:
        """Hand all requests to the template, if it is ready."""
        template = self._family.of(
            Role.NEXT_TEMPLATE if self._editions.is_moving else Role.TEMPLATE
        )
        self.retry_at = None
        while template is not None and template.ready and template.open and self._waiting:
            try:
                self._send(template, self._waiting[0])
            except OSError as error:
                self._log.error(f"cannot ask the template for a process: {error.strerror}")
                self.retry_at = self._clock() + self._timing.first_backoff
                return
            fds.close(self._waiting.pop(0).far)

    def forget(self, child: Child) -> bool:
        """Drop the request for a child; return False if it has been sent."""
        for fork in self._waiting:
            if fork.child is child:
                fds.close(fork.far)
                self._waiting.remove(fork)
                return True
        return False

    def _send(self, template: Child, fork: _Worker | _Monitor | _Broker | _Console) -> None:
        child, edition, orders = fork.child, self._editions.current, self._log_orders
        given = (fork.far, self._scoreboard.descriptor, child.fault)
        if isinstance(fork, _Worker):
            generation = edition.generation
            number, of_generation = generation.number, (generation.memfd, generation.certificates)
            sources = (fork.listening.fileno(), fork.inbox.fileno())
            metrics = self._memories.of(edition.number).descriptor
            template.send(
                ForkWorker(child.slot, child.row, number, orders.levels, orders.locations),
                WorkerDescriptors(*given, *of_generation, *sources, metrics),
            )
            child.sent_generation = child.applied_generation = number
        elif isinstance(fork, _Broker):
            kept = () if fork.history is None else (fork.history,)
            request = ForkBroker(child.number, orders.levels, orders.locations)
            template.send(request, (*given, *kept))
        elif isinstance(fork, _Console):
            listeners = fork.sockets.console
            listening = () if listeners is None else (listeners.sockets[0].fileno(),)
            certificates = edition.generation.certificates
            template.send(self._console_request(fork.sockets), (*given, certificates, *listening))
        else:
            inherited = () if fork.control is None else (fork.control,)
            template.send(self._monitor_request(fork.sockets), (*given, *inherited))
        template.answers.ask(self._timing.answer_limit, self._clock())
        child.edition = edition.number

    def _console_request(self, sockets: Sockets) -> ForkConsole:
        plan = self._editions.current.plan
        return ForkConsole(
            supervisor=os.getpid(),
            address=sockets.address(plan),
            console_address=sockets.console_address(plan),
            generation=self._editions.generation,
            log_levels=self._log_orders.levels,
            log_locations=self._log_orders.locations,
        )

    def _monitor_request(self, sockets: Sockets) -> ForkMonitor:
        plan = self._editions.current.plan
        return ForkMonitor(
            supervisor=os.getpid(),
            address=sockets.address(plan),
            control_socket=sockets.control_socket(plan),
            console_address=sockets.console_address(plan),
            socket_files=[asdict(file) for file in sockets.files()],
            log_levels=self._log_orders.levels,
            log_locations=self._log_orders.locations,
        )


def _unborn(name: str, role: Role) -> tuple[Child, int]:
    """Return a child without a process, and the end of its channel that it will have."""
    channel, far = Channel.pair()
    child = Child(name, role, channel)
    try:
        child.fault = system.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
    except BaseException:
        child.release()
        system.close_socket(far)
        raise
    return child, far.detach()

"""The pairs of sockets between workers and the broker: one for each two that live.

Rules. Each incarnation of a worker and each incarnation of the broker get a fresh pair, since a pair that
outlives its writer keeps half a frame and shows no end. The supervisor keeps no end: end of file means
that the peer is gone. The broker gets its end first, so a worker never has a pair without a peer. What
the system refuses is tried again after a pause, and so is a pair that a process could not use.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.linux import system
from mpchat.supervisor.backoff import Backoff
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.timing import Timing


@dataclass
class _Link:
    """What one worker has of the broker."""

    backoff: Backoff
    pair: int = 0
    """Number of its pair; 0: none"""
    broker: int = 0
    """Number of the broker at the other end; 0: none"""
    since: float = 0.0
    not_before: float = 0.0
    """When it may have the next one"""


class Pairs:
    """Gives every worker a pair to the present broker.

    Attributes:
        due: When to try again what was refused; None if nothing was.
    """

    def __init__(self, timing: Timing, log: Log, family: Family) -> None:
        self.due: float | None = None
        self._timing = timing
        self._log = log
        self._family = family
        self._links: dict[int, _Link] = {}
        self._refusals = Backoff(timing, random.uniform)
        self._refused_at = self._pause_until = 0.0
        self._last = 0
        """Number of the last pair"""

    def tick(self, now: float) -> None:
        """Give a pair to every worker that has none to the present broker."""
        self.due = None
        broker = self._family.of(Role.BROKER)
        if broker is None or not broker.ready:
            return
        for worker in self._family.workers.values():
            if not (worker.open and broker.open):
                continue
            link = self._link(worker)
            if link.broker == broker.number:
                continue
            at = max(link.not_before, self._pause_until)
            if at > now:
                self.due = min(at, self.due or at)
                continue
            try:
                self._give(worker, broker, link, now)
            except OSError as error:
                self._pause(worker, error, now)
                return

    def lost(self, child: Child, pair: int, now: float) -> None:
        """A worker or the broker cannot use its pair: both get another one."""
        for number, link in self._links.items():
            is_its_own = child.role is Role.BROKER or number == child.number
            if is_its_own and link.pair == pair and link.broker:
                self._log.warning(f"{child.name} pid {child.pid} has lost a pair; it gets another")
                link.broker = 0
                link.not_before = now + link.backoff.failed(now - link.since)

    def ended(self, worker: Child) -> None:
        """A worker is gone: the broker is told, since others may hold the worker's end."""
        link = self._links.pop(worker.number, None)
        broker = self._family.of(Role.BROKER)
        if link is not None and broker is not None and link.broker == broker.number:
            broker.send(messages.WorkerGone(worker.number))

    def _link(self, worker: Child) -> _Link:
        if worker.number not in self._links:
            self._links[worker.number] = _Link(Backoff(self._timing, random.uniform))
        return self._links[worker.number]

    def _give(self, worker: Child, broker: Child, link: _Link, now: float) -> None:
        """Make a pair and pass on both ends.

        Raises:
            OSError: The system refuses it; both get another one later.
        """
        near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._last += 1
        for_broker = messages.RoomsPair(self._last, worker.number, worker.slot)
        for_worker = messages.BrokerPair(self._last, worker.number)
        try:
            broker.send(for_broker, (near.fileno(),))
            worker.send(for_worker, (far.fileno(),))
        finally:
            system.close_socket(near)
            system.close_socket(far)
        link.pair, link.broker, link.since = self._last, broker.number, now

    def _pause(self, worker: Child, error: OSError, now: float) -> None:
        """Wait: what the system refuses to one worker it would refuse to the next."""
        wait = self._refusals.failed(now - self._refused_at)
        self._refused_at, self._pause_until = now, now + wait
        self.due = self._pause_until
        reason = describe_os_error(error)
        self._log.error(f"{worker.name} pid {worker.pid} gets no pair to the broker yet: {reason}")

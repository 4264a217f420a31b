"""Fork requests: made when the policy says so, sent when a template is there to carry them out.

Rules. A request's far end of the channel is kept here until it is sent; what a child needs that may
change meanwhile (the newest generation) is attached only then.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import ForkRequest
from mpchat.ipc.scoreboard import Scoreboard
from mpchat.supervisor.children import Child
from mpchat.supervisor.family import Family
from mpchat.supervisor.reload import Reload
from mpchat.supervisor.running import Running


@dataclass(frozen=True)
class _Waiting:
    child: Child
    far: int
    request: ForkRequest
    sources: tuple[socket.socket, ...] = ()
    """What a worker takes clients from"""
    control: int = -1


class Forks:
    """The requests that no template has been given yet; ``levels`` are those of loggers, by order."""

    def __init__(
        self, scoreboard: Scoreboard, family: Family, reload: Reload, levels: Mapping[str, str]
    ) -> None:
        self._scoreboard = scoreboard
        self._family = family
        self._reload = reload
        self._levels = levels
        self._waiting: list[_Waiting] = []

    def request_worker(
        self, name: str, number: int, slot: int, row: int, *sources: socket.socket
    ) -> Child:
        """Return a worker that will be forked."""
        channel, far = Channel.pair()
        child = Child(name, channel, number, slot, row)
        request = ForkRequest("worker", slot, row)
        return self._add(_Waiting(child, far.detach(), request, sources))

    def request_monitor(self, running: Running) -> Child:
        """Return a monitor that will be forked."""
        channel, far = Channel.pair()
        file = running.listeners.file
        request = ForkRequest(
            "monitor",
            socket_file=asdict(file) if file is not None else None,
            supervisor=os.getpid(),
            address=running.address(),
            control_socket=running.control_socket(),
        )
        child = Child("monitor", channel)
        return self._add(_Waiting(child, far.detach(), request, control=running.control))

    def flush(self) -> None:
        """Hand all requests to the template, if it is ready."""
        template = self._family.forker()
        if template is None:
            return
        waiting, self._waiting = self._waiting, []
        generation = self._reload.generation
        for fork in waiting:
            child, request = fork.child, replace(fork.request, log_levels=dict(self._levels))
            descriptors = [fork.far, self._scoreboard.descriptor, child.fault]
            child.edition = generation.edition
            if request.role == "worker":
                child.sent_generation = child.applied_generation = generation.number
                request = replace(request, generation=generation.number)
                descriptors.append(generation.memfd)
                descriptors += [source.fileno() for source in fork.sources]
            elif fork.control >= 0:
                descriptors.append(fork.control)
            template.send(request, tuple(descriptors))
            os.close(fork.far)

    def forget(self, child: Child) -> None:
        """Drop the request for a child, if it has not been sent."""
        for fork in self._waiting:
            if fork.child is child:
                os.close(fork.far)
        self._waiting = [fork for fork in self._waiting if fork.child is not child]

    def _add(self, fork: _Waiting) -> Child:
        fork.child.fault = os.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
        self._waiting.append(fork)
        return fork.child

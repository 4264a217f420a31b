"""Fork requests: made when the policy says so, sent when a template is there to carry them out.

Rules. A request's far end of the channel is kept here until it is sent; what a child needs that may
change meanwhile (the newest generation) is attached only then.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace

from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import ForkRequest
from mpchat.ipc.scoreboard import Scoreboard
from mpchat.supervisor.children import Child
from mpchat.supervisor.reload import Generation
from mpchat.supervisor.running import Running
from mpchat.supervisor.sockets import Listeners


@dataclass(frozen=True)
class _Waiting:
    child: Child
    far: int
    request: ForkRequest


class Forks:
    """The requests that no template has been given yet."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._waiting: list[_Waiting] = []

    def request_worker(self, name: str, number: int, slot: int, row: int) -> Child:
        """Return a worker that will be forked."""
        channel, far = Channel.pair()
        child = Child(name, channel, number, slot, row)
        return self._request(child, far.detach(), ForkRequest("worker", slot, row))

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
        return self._request(Child("monitor", channel), far.detach(), request)

    def send(
        self,
        template: Child,
        generation: Generation,
        listeners: Listeners,
        log_levels: dict[str, str],
    ) -> None:
        """Hand all requests to a template that is ready."""
        waiting, self._waiting = self._waiting, []
        for fork in waiting:
            child, request = fork.child, replace(fork.request, log_levels=log_levels)
            descriptors = [fork.far, self._scoreboard.descriptor, child.fault]
            if request.role == "worker":
                child.sent_generation = child.applied_generation = generation.number
                request = replace(request, generation=generation.number)
                descriptors += [generation.memfd, listeners.sockets[child.slot].fileno()]
            template.send(request, tuple(descriptors))
            os.close(fork.far)

    def forget(self, child: Child) -> None:
        """Drop the request for a child, if it has not been sent."""
        for fork in self._waiting:
            if fork.child is child:
                os.close(fork.far)
        self._waiting = [fork for fork in self._waiting if fork.child is not child]

    def _request(self, child: Child, far: int, request: ForkRequest) -> Child:
        child.fault = os.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
        self._waiting.append(_Waiting(child, far, request))
        return child

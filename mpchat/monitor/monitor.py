"""The monitor's loop: hold a pidfd of every process, and act when the supervisor is gone.

Rules. No client port, no event loop, no author's code. It learns processes by ``Watch``; when its
channel ends without ``Stop`` the supervisor has died: workers get time to say goodbye to their clients,
then whatever still lives is killed (a stuck worker would keep the port), and socket files go.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass, field

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.messages import ForkRequest
from mpchat.ipc.socket_file import SocketFile


@dataclass
class Monitor:
    """Who is watched, and which files go with the service."""

    channel: Channel
    orphan_limit: float
    socket_file: SocketFile | None
    _pidfds: dict[int, int] = field(default_factory=dict)

    def run(self) -> None:
        """Watch until told to stop or until the supervisor is gone."""
        messages.send(self.channel, messages.Ready())
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN)
        try:
            while self._read():
                poller.poll()
        except ChannelClosed:
            self._clean_up()

    def _read(self) -> bool:
        while (received := messages.receive(self.channel)) is not None:
            message, descriptors = received
            if isinstance(message, messages.Stop):
                return False
            if isinstance(message, messages.Watch):
                self._forget(message.pid)
                self._pidfds[message.pid] = descriptors[0]
            elif isinstance(message, messages.Unwatch):
                self._forget(message.pid)
        return True

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            os.close(pidfd)

    def _clean_up(self) -> None:
        deadline = time.monotonic() + self.orphan_limit
        for pidfd in self._pidfds.values():
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.socket_file is not None:
            self.socket_file.remove()


def run_monitor(request: ForkRequest, channel: Channel, orphan_limit: float) -> None:
    """Be the monitor; the caller has forked, closed what is not ours and set the title."""
    file = SocketFile(**request.socket_file) if request.socket_file is not None else None
    Monitor(channel, orphan_limit, file).run()

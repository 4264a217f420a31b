"""What clients come through: a listening socket and an inbox for each slot; and the console's socket."""

from __future__ import annotations

import os
import resource

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.control import default_path
from mpchat.linux.descriptors import room_for
from mpchat.linux.socket_file import SocketFile
from mpchat.supervisor.inboxes import Inboxes
from mpchat.supervisor.listeners import Listeners

_DESCRIPTORS_OF_SLOT = 9
"""A listening socket, the ends of an inbox, and a channel, pidfd and memfd for each of two workers"""
_RESERVE = 16
"""For what comes and goes: a new template, a request for a process, a message"""


class Sockets:
    """A service whose addresses are bound.

    Raises:
        StartError: An address cannot be listened on.
    """

    def __init__(self, plan: messages.Plan) -> None:
        self.inboxes = Inboxes()
        self.listeners = Listeners(plan.listener, 1)
        self.console: Listeners | None = None
        """Where the console listens; it outlives consoles, so whoever comes between two waits"""
        self._slots = 1
        try:
            if plan.console is not None:
                self.console = Listeners(plan.console, 1)
            self.inboxes.grow(1)
            self.grow(plan.workers)
        except StartError:
            self.close()
            raise

    def grow(self, slots: int) -> None:
        """Make a listening socket and an inbox for each of ``slots`` slots.

        Raises:
            StartError: The system refuses it, or workers in these slots would need more descriptors than
                there are; everything is as it was.
        """
        new = slots - self._slots
        if new <= 0:
            return
        if not room_for(new * _DESCRIPTORS_OF_SLOT + _RESERVE):
            limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            text = f"{slots} workers need more descriptors than the supervisor has left"
            advice = f"raise their limit, which is {limit} (LimitNOFILE, ulimit -n)"
            raise StartError(f"{text}; {advice}", ExitCode.OS)
        self.inboxes.grow(slots)
        try:
            self.listeners.grow(slots)
        except StartError:
            self.inboxes.shrink(self._slots)
            raise
        self._slots = slots

    def stop_listening(self) -> None:
        """Close our descriptors; what waits in them is taken by workers that still have theirs."""
        self.listeners.close()
        self.inboxes.close()

    def close_console(self) -> None:
        """Close the console's listening socket, and remove its file."""
        if self.console is not None:
            self.console.close()
            self.console.remove_file()

    def close(self) -> None:
        """Close everything, and remove the socket files."""
        self.stop_listening()
        self.listeners.remove_file()
        self.close_console()

    def files(self) -> list[SocketFile]:
        """Return the files of our Unix sockets."""
        listeners = (self.listeners, self.console)
        return [one.file for one in listeners if one is not None and one.file is not None]

    def control_socket(self, plan: messages.Plan) -> str:
        """Return where operators reach the monitor."""
        listener = self.listeners.unix_path or str(self.listeners.port)
        return plan.control_socket or default_path(os.environ, listener)

    def console_address(self, plan: messages.Plan) -> str:
        """Return where a browser finds the console, nothing if there is none."""
        listeners = self.console
        if listeners is None or plan.console is None:
            return ""
        scheme = "https" if plan.console["tls"] else "http"
        return listeners.unix_path or f"{scheme}://{_host(listeners.address)}:{listeners.port}/"

    def address(self, plan: messages.Plan) -> str:
        """Return what a client would connect to."""
        listeners = self.listeners
        if listeners.unix_path is not None:
            return f"unix:{listeners.unix_path} {plan.path}"
        host = plan.listener["address"] or "localhost"
        scheme = "wss" if plan.listener["tls"] else "ws"
        return f"{scheme}://{_host(host)}:{listeners.port}{plan.path}"


def _host(address: str) -> str:
    """Return an address as a URL has it."""
    return f"[{address}]" if ":" in address else address

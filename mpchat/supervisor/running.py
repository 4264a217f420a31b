"""What the supervisor has from the plan on: the plan itself, listening sockets and inboxes."""

from __future__ import annotations

import os

from mpchat.errors import StartError
from mpchat.ipc import messages
from mpchat.ipc.control import default_path
from mpchat.supervisor.inboxes import Inboxes
from mpchat.supervisor.sockets import Listeners


class Running:
    """A service whose static config is valid and whose addresses are bound.

    Attributes:
        plan: What its newest template has made of the static config.
        static_config: A memfd with the files that its template has read.
        control: The monitor's listening socket, kept for the next monitor; -1: none yet.

    Raises:
        StartError: An address cannot be listened on.
    """

    def __init__(self, plan: messages.Plan, static_config: int) -> None:
        self.plan = plan
        self.static_config = static_config
        self.control = -1
        self.listeners = Listeners(plan.listener, plan.workers)
        self.inboxes = Inboxes()
        try:
            self.inboxes.grow(plan.workers)
        except StartError:
            self.listeners.close()
            self.listeners.remove_file()
            raise

    def refusal(self, plan: messages.Plan) -> str:
        """Return why another plan cannot take this one's place without a stop; nothing if it can."""
        for what in ("address", "port", "unix_socket"):
            old, new = self.plan.listener[what], plan.listener[what]
            if new != old:
                return _changed(f"the listener's {what.replace('_', '-')}", old, new)
        if plan.control_socket != self.plan.control_socket:
            return _changed("control-socket", self.plan.control_socket, plan.control_socket)
        return ""

    def control_socket(self) -> str:
        """Return where operators reach the monitor."""
        listener = self.listeners.unix_path or str(self.listeners.port)
        return self.plan.control_socket or default_path(os.environ, listener)

    def address(self) -> str:
        """Return what a client would connect to."""
        plan, listeners = self.plan, self.listeners
        if listeners.unix_path is not None:
            return f"unix:{listeners.unix_path} {plan.path}"
        host = plan.listener["address"] or "localhost"
        host = f"[{host}]" if ":" in host else host
        return f"ws://{host}:{listeners.port}{plan.path}"


def _changed(what: str, old: object, new: object) -> str:
    shown = ["none" if value is None else str(value) for value in (old, new)]
    return f"{what} has changed from {shown[0]} to {shown[1]}: restart the service itself for that"

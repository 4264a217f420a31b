"""What the supervisor has from the plan on: the plan itself and the listening sockets."""

from __future__ import annotations

import os

from mpchat.ipc import messages
from mpchat.ipc.control import default_path
from mpchat.supervisor.sockets import Listeners


class Running:
    """A service whose static config is valid and whose addresses are bound.

    Raises:
        StartError: An address cannot be listened on.
    """

    def __init__(self, plan: messages.Plan) -> None:
        self.plan = plan
        self.listeners = Listeners(plan.listener, plan.workers)

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

"""A component that acts on connections besides their handlers."""

from __future__ import annotations

from mpchat.components.component import Component
from mpchat.websocket.shared import Shared


class ConnectionsComponent(Component):
    """Base of our components that need what all connections of a worker share."""

    def begin(self, shared: Shared) -> None:
        """Override to begin in a worker: all components are built, none has started."""
        raise NotImplementedError(f"{type(self).__name__} does not define begin")

"""The components of ``mpchat serve`` without ``--app``."""

from __future__ import annotations

from mpchat.components.list import ComponentList, minimal_server_component_list
from mpchat.handlers.chat import Chat
from mpchat.handlers.ping import Ping


def default_component_list() -> ComponentList:
    """Return a list with the echo and the ping handler."""
    return minimal_server_component_list().append(Chat).append(Ping)

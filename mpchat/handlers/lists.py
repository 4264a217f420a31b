"""The component lists to start from."""

from __future__ import annotations

from mpchat.components.list import ComponentList
from mpchat.handlers.chat import Chat
from mpchat.handlers.ping import Ping
from mpchat.handlers.tests_control import TestsControl


def minimal_server_component_list() -> ComponentList:
    """Return a list for a server without handlers, but for tests-control where it is configured."""
    return ComponentList().append(TestsControl)


def default_component_list() -> ComponentList:
    """Return a list with the echo and the ping handler: what ``mpchat serve`` runs without ``--app``."""
    return minimal_server_component_list().append(Chat).append(Ping)

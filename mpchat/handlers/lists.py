"""The component lists to start from."""

from __future__ import annotations

from mpchat.components.list import ComponentList
from mpchat.handlers.chat import Chat
from mpchat.handlers.ping import Ping
from mpchat.handlers.tests_control import TestsControl


def minimal_server_component_list() -> ComponentList:
    """Return a list without handlers: append yours, and ``Ping`` for the section ``handler-ping``.

    Every service has the server, logging and the dynamic config without listing them. The list contains
    ``tests-control``, which does nothing unless it is configured.
    """
    return ComponentList().append(TestsControl)


def default_component_list() -> ComponentList:
    """Return a list with ``websocket-handler``, the echo, and ``handler-ping``.

    ``mpchat serve`` runs this list without ``--app``.
    """
    return minimal_server_component_list().append(Chat).append(Ping)

"""The component lists to start from."""

from __future__ import annotations

from mpchat.components.list import ComponentList
from mpchat.handlers.chat import Chat
from mpchat.handlers.ping import Ping
from mpchat.handlers.tests_control import TestsControl


def minimal_server_component_list() -> ComponentList:
    """Return a list without handlers: append yours, and ``Ping`` for the section ``handler-ping``.

    The server, logging and the dynamic config are in every service and need no place in it;
    ``tests-control`` is in it, and does nothing where it is not configured.
    """
    return ComponentList().append(TestsControl)


def default_component_list() -> ComponentList:
    """Return a list with ``websocket-handler``, the echo, and ``handler-ping``.

    It is what ``mpchat serve`` runs without ``--app``.
    """
    return minimal_server_component_list().append(Chat).append(Ping)

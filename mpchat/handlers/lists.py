"""The component lists to start from.

Rules. What belongs to rooms is imported on demand: a service without rooms has none of their code.
"""

from __future__ import annotations

from mpchat.components.list import ComponentList
from mpchat.handlers.chat import Chat
from mpchat.handlers.ping import Ping
from mpchat.handlers.tests_control import TestsControl


def minimal_server_component_list() -> ComponentList:
    """Return a list without handlers: append yours, and ``Ping`` for the section ``handler-ping``.

    Every service has the server, logging and the dynamic config without listing them. The list contains
    ``tests-control`` and ``rooms``, which do nothing unless they are configured.
    """
    components = ComponentList().append(TestsControl)
    return components.append_on_demand("rooms", "mpchat.rooms.rooms", "Rooms")


def default_component_list() -> ComponentList:
    """Return a list with ``websocket-handler``, the echo, and ``handler-ping``.

    It also has ``room-handler`` and ``handler-rooms``, which do nothing unless they are configured.
    ``mpchat serve`` runs this list without ``--app``.
    """
    components = minimal_server_component_list().append(Chat).append(Ping)
    components.append_on_demand("room-handler", "mpchat.rooms.handler", "RoomHandler")
    return components.append_on_demand("handler-rooms", "mpchat.rooms.http", "RoomsHandler")

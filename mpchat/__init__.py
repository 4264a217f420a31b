"""The names for authors of services, loaded on first use.

Only lazy re-exports, so that the supervisor and the command's first exec import nothing heavy. No
package imports these names.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from mpchat.compiled import use_compiled

if TYPE_CHECKING:
    from websockets.exceptions import ConcurrencyError as ConcurrencyError
    from websockets.exceptions import ConnectionClosed as ConnectionClosed
    from websockets.exceptions import ConnectionClosedError as ConnectionClosedError
    from websockets.exceptions import ConnectionClosedOK as ConnectionClosedOK
    from websockets.exceptions import ProtocolError as ProtocolError
    from websockets.http11 import Request as Request
    from websockets.http11 import Response as Response

    from mpchat.auth.bearer import BearerAuth as BearerAuth
    from mpchat.auth.cookie import CookieAuth as CookieAuth
    from mpchat.auth.jwt import JwtAuth as JwtAuth
    from mpchat.auth.ticket import TicketAuth as TicketAuth
    from mpchat.auth.ticket import TicketHandler as TicketHandler
    from mpchat.components.auth import AuthCheckerBase as AuthCheckerBase
    from mpchat.components.auth import Unauthorized as Unauthorized
    from mpchat.components.component import Component as Component
    from mpchat.components.component import ComponentError as ComponentError
    from mpchat.components.component import Components as Components
    from mpchat.components.connections import Connections as Connections
    from mpchat.components.context import Context as Context
    from mpchat.components.handler_base import HandlerBase as HandlerBase
    from mpchat.components.http_handler import HttpHandlerBase as HttpHandlerBase
    from mpchat.components.identity import Identity as Identity
    from mpchat.components.json_handler import HttpHandlerJsonBase as HttpHandlerJsonBase
    from mpchat.components.list import ComponentList as ComponentList
    from mpchat.config.types import ConfigPath as ConfigPath
    from mpchat.config.types import Duration as Duration
    from mpchat.config.types import OptionsModel as OptionsModel
    from mpchat.daemon import daemon_main as daemon_main
    from mpchat.dynamic_config.keys import Key as Key
    from mpchat.dynamic_config.snapshot import Snapshot as Snapshot
    from mpchat.handlers.lists import default_component_list as default_component_list
    from mpchat.handlers.lists import (
        minimal_server_component_list as minimal_server_component_list,
    )
    from mpchat.handlers.ping import Ping as Ping
    from mpchat.http.errors import HttpError as HttpError
    from mpchat.http.request import HttpRequest as HttpRequest
    from mpchat.http.responses import response as response
    from mpchat.ipc.control import ControlError as ControlError
    from mpchat.rooms.errors import Behind as Behind
    from mpchat.rooms.errors import NoSuchRoom as NoSuchRoom
    from mpchat.rooms.errors import RoomClosed as RoomClosed
    from mpchat.rooms.errors import RoomError as RoomError
    from mpchat.rooms.errors import TooLarge as TooLarge
    from mpchat.rooms.errors import TooManyMembers as TooManyMembers
    from mpchat.rooms.errors import TooManyMessages as TooManyMessages
    from mpchat.rooms.errors import TooManyRooms as TooManyRooms
    from mpchat.rooms.errors import Unavailable as Unavailable
    from mpchat.rooms.handler import Access as Access
    from mpchat.rooms.handler import RoomHandler as RoomHandler
    from mpchat.rooms.http import RoomsHandler as RoomsHandler
    from mpchat.rooms.position import Position as Position
    from mpchat.rooms.room import Room as Room
    from mpchat.rooms.rooms import Rooms as Rooms
    from mpchat.websocket.connection import WebSocketConnection as WebSocketConnection
    from mpchat.websocket.handler import WebsocketHandlerBase as WebsocketHandlerBase

__version__ = "0.1.0"
FORM = use_compiled(os.path.dirname(__file__), os.environ)
"""How the hot path runs in this process."""

_HOMES = {
    "Access": "mpchat.rooms.handler",
    "AuthCheckerBase": "mpchat.components.auth",
    "BearerAuth": "mpchat.auth.bearer",
    "Behind": "mpchat.rooms.errors",
    "Component": "mpchat.components.component",
    "ComponentError": "mpchat.components.component",
    "ComponentList": "mpchat.components.list",
    "Components": "mpchat.components.component",
    "ConcurrencyError": "websockets.exceptions",
    "ConfigPath": "mpchat.config.types",
    "ConnectionClosed": "websockets.exceptions",
    "ConnectionClosedError": "websockets.exceptions",
    "ConnectionClosedOK": "websockets.exceptions",
    "Connections": "mpchat.components.connections",
    "Context": "mpchat.components.context",
    "ControlError": "mpchat.ipc.control",
    "CookieAuth": "mpchat.auth.cookie",
    "Duration": "mpchat.config.types",
    "HandlerBase": "mpchat.components.handler_base",
    "HttpError": "mpchat.http.errors",
    "HttpHandlerBase": "mpchat.components.http_handler",
    "HttpHandlerJsonBase": "mpchat.components.json_handler",
    "HttpRequest": "mpchat.http.request",
    "Identity": "mpchat.components.identity",
    "JwtAuth": "mpchat.auth.jwt",
    "Key": "mpchat.dynamic_config.keys",
    "NoSuchRoom": "mpchat.rooms.errors",
    "OptionsModel": "mpchat.config.types",
    "Ping": "mpchat.handlers.ping",
    "Position": "mpchat.rooms.position",
    "ProtocolError": "websockets.exceptions",
    "Request": "websockets.http11",
    "Response": "websockets.http11",
    "Room": "mpchat.rooms.room",
    "RoomClosed": "mpchat.rooms.errors",
    "RoomError": "mpchat.rooms.errors",
    "RoomHandler": "mpchat.rooms.handler",
    "Rooms": "mpchat.rooms.rooms",
    "RoomsHandler": "mpchat.rooms.http",
    "Snapshot": "mpchat.dynamic_config.snapshot",
    "TicketAuth": "mpchat.auth.ticket",
    "TicketHandler": "mpchat.auth.ticket",
    "TooLarge": "mpchat.rooms.errors",
    "TooManyMembers": "mpchat.rooms.errors",
    "TooManyMessages": "mpchat.rooms.errors",
    "TooManyRooms": "mpchat.rooms.errors",
    "Unauthorized": "mpchat.components.auth",
    "Unavailable": "mpchat.rooms.errors",
    "WebSocketConnection": "mpchat.websocket.connection",
    "WebsocketHandlerBase": "mpchat.websocket.handler",
    "daemon_main": "mpchat.daemon",
    "default_component_list": "mpchat.handlers.lists",
    "minimal_server_component_list": "mpchat.handlers.lists",
    "response": "mpchat.http.responses",
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the keys are the names


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mpchat' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)

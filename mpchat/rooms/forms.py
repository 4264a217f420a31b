"""How the messages of a room look on the way to its members.

Rules. A frame is made once in a worker for all members of a room that have the same form: the same
object, so a form is made once, and not for each connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from mpchat.rooms.message import BINARY as BINARY_MESSAGE
from mpchat.rooms.message import Message
from mpchat.rooms.position import Position
from mpchat.websocket import batch
from mpchat.websocket.frames import BINARY, TEXT

Frame: TypeAlias = batch.Frame
"""The opcode of a WebSocket message, TEXT or BINARY, and its payload"""

log = logging.getLogger("mpchat.rooms")


class Form:
    """What members are sent; derive and override.

    The methods are called in the event loop. They must neither block nor raise: one that fails costs its
    members this frame.
    """

    def encode(self, message: Message) -> Frame:
        """Return what is sent for a message."""
        raise NotImplementedError(f"{type(self).__name__} does not define encode")

    def joined(self, room: str, position: Position, recovered: bool) -> Frame | None:
        """Return what a member of the room is sent first, before all messages, or None.

        See ``Room.position`` and ``Room.recovered``.
        """
        return None

    def presence(self, joined: bool, info: Any) -> Frame | None:
        """Return what members are sent when another member with ``info`` has joined or left, or None."""
        return None

    def presence_ended(self) -> Frame | None:
        """Return what members are sent when the room has become too large for presence, or None."""
        return None


class _Raw(Form):
    def __repr__(self) -> str:
        return "RAW"

    def encode(self, message: Message) -> Frame:
        return (BINARY if message.kind == BINARY_MESSAGE else TEXT, message.payload)


RAW: Form = _Raw()
"""Messages as they were published, and nothing else"""


def frame_of(make: Callable[..., Frame | None], *arguments: object) -> Frame | None:
    """Return what a method of a form makes of its arguments, None if it fails."""
    try:
        return make(*arguments)
    except Exception:
        # A form is an author's code: whatever it raises, the room goes on.
        log.exception("a form failed")
        return None

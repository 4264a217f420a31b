"""A room that connections of this worker are in, and what they are sent.

Rules. The stream's order is the only barrier. Records count while the room is LIVE, and rise: one that
is not above the last one was seen. While the room is RESUMING on a fresh pair, what it missed comes in
pages; behind the last one it is LIVE again.
"""

from __future__ import annotations

import json
from enum import IntEnum

from mpchat.ipc.numbers import u64_at
from mpchat.ipc.records import AT, CRC, HEADER, KEY_SIZE, KEYED, OFFSET
from mpchat.ipc.rooms import Change
from mpchat.rooms.errors import RoomError
from mpchat.rooms.forms import Form, Frame, frame_of
from mpchat.rooms.message import BINARY, JSON, Message
from mpchat.websocket.broadcast import Audience, Hall, Parting

_PAYLOAD_KINDS = BINARY | JSON
# What every message needs, as compiled code takes it.
_AT, _OFFSET, _HEADER_BYTES, _CRC_BYTES = AT, OFFSET, HEADER.size, CRC.size
_KEYED, _KEY_BYTES = KEYED, KEY_SIZE
_HINT_BYTES = 64


class Stage(IntEnum):
    """Where a room of this worker is."""

    FRESH = 0
    """Its first member has not joined yet"""
    LIVE = 1
    """Its records come"""
    RESUMING = 2
    """What was missed comes in pages"""


FRESH, LIVE, RESUMING = Stage


class Parted(RoomError):
    """Why members have to leave.

    Attributes:
        error: For the author.
        code: The close code of their connections.
        is_known: The broker does not count them any more.
    """

    def __init__(self, error: RoomError, code: int, *, is_known: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.code = code
        self.is_known = is_known


class Subscription(Audience):
    """One room.

    Attributes:
        name: Its name as it travels.
        stage: See Stage.
        offset, at: The position of the last record that was seen; 0 before one.
        members: How many members it has here, those that are joining included.
        counted: How many of them have joined without info.
    """

    __slots__ = ("at", "counted", "members", "name", "offset", "stage")

    def __init__(self, name: bytes, hall: Hall) -> None:
        super().__init__(hall)
        self.name = name
        self.stage: Stage = FRESH
        self.offset = self.at = 0
        self.members = self.counted = 0

    def stands_at(self, offset: int, at: int) -> None:
        """Take note of a position up to which all was seen."""
        if offset > self.offset:
            self.offset = offset
            self.at = at

    def end(self, parted: Parted) -> None:
        """Let all members go, behind what they were sent."""
        self.send(Parting(parted))


class Sent:
    """A message on its way to members; ``stamp`` is its record's, 0 if it does not count."""

    __slots__ = ("message", "size", "stamp")

    def __init__(self, message: Message, stamp: int = 0) -> None:
        self.message = message
        self.stamp = stamp
        self.size = len(message.payload)

    def frame(self, form: object) -> Frame | None:
        """Return what a form makes of it."""
        assert isinstance(form, Form)
        return frame_of(form.encode, self.message)


class Hint:
    """A word about presence on its way to members."""

    __slots__ = ("_change", "_info", "size", "stamp")

    def __init__(self, change: Change, info: bytes) -> None:
        self._change = change
        self._info = info
        self.stamp = 0
        self.size = _HINT_BYTES + len(info)

    def frame(self, form: object) -> Frame | None:
        """Return what a form makes of it."""
        assert isinstance(form, Form)
        return frame_of(self._made_by, form)

    def _made_by(self, form: Form) -> Frame | None:
        match self._change:
            case Change.JOINED | Change.LEFT:
                return form.presence(self._change is Change.JOINED, json.loads(self._info))
            case Change.OFF:
                return form.presence_ended()
            case Change.ON:
                return None


def message_of(record: bytes, epoch: str) -> Message:
    """Return what a stored record says."""
    flags, by = record[5], record[7]
    start = _HEADER_BYTES + record[6]
    end = start + by
    user = record[start:end].decode() if by else None
    if flags & _KEYED:
        end += _KEY_BYTES
    offset, at = u64_at(record, _OFFSET), u64_at(record, _AT)
    payload = record[end : len(record) - _CRC_BYTES]
    return Message(flags & _PAYLOAD_KINDS, payload, user, epoch, offset, at)

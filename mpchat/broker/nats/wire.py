"""What a message of a room is in the stream, and the record that workers get of it.

Rules. The stream's sequence is the offset, and its time the message's. The payload begins with four bytes
(the form's number, kind, flags, bytes of the user), then come the user and the message. What is not of
this form was published by somebody else, and is no message of a room.
"""

from __future__ import annotations

import struct

from mpchat.ipc import records
from mpchat.ipc.records import CLOSED, KEYED, MESSAGE

_HEAD = struct.Struct("<BBBB")
_FORM = 1
_KINDS = frozenset({MESSAGE, CLOSED})
OVERHEAD = _HEAD.size
"""Bytes of a payload beside user and message"""


class Foreign(Exception):
    """It is no message of a room."""


def pack_body(kind: int, flags: int, user: bytes, payload: bytes) -> bytes:
    """Return a message as the stream keeps it."""
    return _HEAD.pack(_FORM, kind, flags & ~KEYED, len(user)) + user + payload


def record_of(room: bytes, body: bytes, offset: int, at: int) -> bytes:
    """Return the record that workers get.

    Raises:
        Foreign: The body is no message of a room.
    """
    if len(body) < OVERHEAD:
        raise Foreign(f"it has {len(body)} bytes")
    form, kind, flags, user = _HEAD.unpack_from(body)
    if form != _FORM or kind not in _KINDS or flags & KEYED or OVERHEAD + user > len(body):
        raise Foreign(f"it begins with {body[:OVERHEAD].hex()}")
    end = OVERHEAD + user
    record, _crc = records.pack(
        kind, flags, room, body[OVERHEAD:end], b"", body[end:], offset, 0, at, 0, 0, 0
    )
    return record


def is_closed(body: bytes) -> bool:
    """Return whether a message of the stream is a room's end."""
    return len(body) >= OVERHEAD and body[0] == _FORM and body[1] == CLOSED

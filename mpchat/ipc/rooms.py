"""The pair of a worker and the broker: what its frames say, by sender.

Numbers are little endian. Every frame begins with ``size u32, kind u8``; kinds below 16 are stored
records (see ``records``), which the broker sends as they are. Names, users, infos, keys and payloads
stand after the numbers, in the order of this table.

    worker -> broker (asking)
    HELLO         incarnation u64, token u64: first, once
    SUBSCRIBE     number u32, counted u32, since, room: the records of the room, from ``since`` on; the
                  worker has so many members without info. For each room on a fresh pair, and after LOST
    JOIN          number u32, member u64, since, room, user, info: a member, and its room's records
    LEAVE         member u64, room: the member has left. The worker's last one ends its subscription
    UNSUBSCRIBE   room: all members that this worker has in the room have left
    PUBLISH       counter u64, room, user, [key], payload
    CLOSE         counter u64, room: the room ends. Answered, and repeated to a new broker, like PUBLISH
    HISTORY       number u32, limit u32, since, room: a page of history, of ``limit`` messages at most
    MEMBERS       number u32, room

    broker -> worker (answering)
    WELCOME       largest u32, epoch, floor u64, mark u64: first, once
    JOINED        number u32, status u8, offset u64, at u64, mark u64, records: of SUBSCRIBE and JOIN
    HISTORY_PAGE  the same: answers HISTORY
    records       of rooms that the worker is subscribed to
    ACK           counter u64, offset u64, at u64: the message is stored there, perhaps for long
    REFUSED       counter u64, reason u8: it is not stored, and will not be
    MARK          mark u64, at u64: each second, and when the floor has risen
    LOST          floor u64: the worker was too far behind. All of its subscriptions have ended; it
                  subscribes again, with positions. Its members are still counted and listed
    PRESENCE      change u8, incarnation u64, member u64, room, user, info: a hint, not always sent
    MEMBERS_PAGE  number u32, total u32, entries u32, the entries: of MEMBERS, in one frame or several

Rules. Offsets of a room's records never fall, nor do marks: a ``mark`` has seen everything that was sent
before it, in all rooms of the pair, and every record that comes later has a higher offset. Records of
different rooms may pass each other, if rooms are shared with other hosts. So a member that joins gets the
records of its JOINED, and all that come later. With MORE there is older history between both: it is asked
for with HISTORY, from the last record on; what is above the answer's mark is known. Members are keyed by
(incarnation, member). The broker answers membership and questions in their order; publishes may overtake
them while a worker is behind.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from mpchat.ipc.framing import MalformedFrame

HELLO: Final = 16
SUBSCRIBE: Final = 17
JOIN: Final = 18
LEAVE: Final = 19
UNSUBSCRIBE: Final = 20
PUBLISH: Final = 21
CLOSE: Final = 22
HISTORY: Final = 23
MEMBERS: Final = 24
WELCOME: Final = 32
JOINED: Final = 33
HISTORY_PAGE: Final = 34
ACK: Final = 35
REFUSED: Final = 36
MARK: Final = 37
LOST: Final = 38
PRESENCE: Final = 39
MEMBERS_PAGE: Final = 40

# Flags of PUBLISH are those of a record, and:
FROM_MEMBER: Final = 128
"""A member says it: refused as CLOSED if the worker has no member, since the room was closed meanwhile"""

# Flags of SUBSCRIBE, JOIN, LEAVE and HISTORY.
SINCE: Final = 1
"""There is a position to continue from"""
LISTED: Final = 2
"""The member has an info, so it is listed and not only counted"""
ANNOUNCED: Final = 4
"""JOIN: a member of before, told to a new broker: no hint, no answer, no records"""

# Flags of answers.
RECOVERED: Final = 1
"""What follows continues from the position that was given; also set if none was"""
MORE: Final = 2
"""There is more than this frame has"""
LISTS: Final = 4
"""Presence is on in this room"""
REPEATED: Final = 8
"""ACK: this publish, or one with its key, was stored before: its first position"""
STORED: Final = 16
"""WELCOME: there is history"""

MAX_ROOM_BYTES: Final = 128
MAX_INFO_BYTES: Final = 4096
"""Bytes of the info of one member."""
MAX_USER_BYTES: Final = 255
EPOCH_BYTES: Final = 16
PAGE_BYTES: Final = 256 * 1024
"""Bytes of records or members in one answer; a larger record, or one more member, still fits."""
MAX_OPEN: Final = 1024
"""Publishes of one worker that have no answer yet, at most."""


class Status(IntEnum):
    """What became of a SUBSCRIBE, JOIN or HISTORY."""

    OK = 0
    TOO_MANY_ROOMS = 1
    TOO_MANY_MEMBERS = 2
    CLOSED = 3
    """SUBSCRIBE: the room was closed after that position"""


class Reason(IntEnum):
    """Why a PUBLISH or CLOSE was refused."""

    CLOSED = 1
    SIZE = 2
    UNAVAILABLE = 3
    TOO_MANY_ROOMS = 4
    NO_ROOM = 5
    """CLOSE: nobody is in that room, and it has no history"""


class Change(IntEnum):
    """What a PRESENCE tells."""

    JOINED = 1
    LEFT = 2
    OFF = 3
    """The room has too many members for presence; nobody is named"""
    ON = 4
    """It has fewer again"""


class Since(NamedTuple):
    """A position to continue from."""

    epoch: str
    offset: int
    at: int = 0
    """When what stands there was stored, in wall milliseconds; 0: not known"""


class Listed(NamedTuple):
    """A member with an info."""

    incarnation: int
    member: int
    user: bytes
    info: bytes


def expect_room(length: int) -> None:
    """Raise MalformedFrame unless a room's name may have this length."""
    if not 0 < length <= MAX_ROOM_BYTES:
        raise MalformedFrame(f"a room's name of {length} bytes")

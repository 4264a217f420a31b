"""Frames from a worker to the broker: packing and parsing; ``rooms`` says what they mean.

Rules. A frame that is not as its kind has to be raises MalformedFrame: no size that it names is believed.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from mpchat.ipc.framing import (
    MAX_FRAME_BYTES,
    MalformedFrame,
    expect_at_least,
    expect_exactly,
    expect_size,
)
from mpchat.ipc.records import KEY_SIZE, KEYED
from mpchat.ipc.rooms import (
    ANNOUNCED,
    CLOSE,
    EPOCH_BYTES,
    HELLO,
    HISTORY,
    JOIN,
    LEAVE,
    LISTED,
    MAX_INFO_BYTES,
    MAX_ROOM_BYTES,
    MEMBERS,
    PUBLISH,
    SINCE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Since,
    expect_room,
)

_HELLO = struct.Struct("<IBQQ")
_QUESTION = struct.Struct("<IBBBIIQQ16s")
_JOIN = struct.Struct("<IBBBHHIQQQ16s")
_LEAVE = struct.Struct("<IBBBQ")
_NAMED = struct.Struct("<IBBI")
_PUBLISH = struct.Struct("<IBBBBQ")
_PUBLISH_BYTES: Final = _PUBLISH.size

FORM: Final = tuple(
    layout.format for layout in (_HELLO, _QUESTION, _JOIN, _LEAVE, _NAMED, _PUBLISH)
)
"""What both ends must agree on."""

PUBLISH_HEAD_BYTES: Final = _PUBLISH_BYTES
"""Bytes of a PUBLISH beside room, user, key and payload."""
MAX_BODY_BYTES: Final = MAX_FRAME_BYTES - _PUBLISH_BYTES
"""Bytes of these that fit into a frame."""


class Hello(NamedTuple):
    """HELLO: who the worker is."""

    incarnation: int
    token: int
    """Random, of this worker alone, also among the workers of other hosts"""

    def pack(self) -> bytes:
        return _HELLO.pack(_HELLO.size, HELLO, *self)

    @classmethod
    def parse(cls, frame: bytes) -> Hello:
        expect_exactly(frame, _HELLO)
        if frame[4] != HELLO:
            raise MalformedFrame(f"frame {frame[4]} where HELLO is expected")
        return cls(*_HELLO.unpack(frame)[2:])


class Subscribe(NamedTuple):
    """SUBSCRIBE: the records of a room."""

    number: int
    room: bytes
    counted: int
    """The worker's members without info"""
    since: Since | None = None

    def pack(self) -> bytes:
        return _pack_question(SUBSCRIBE, *self)

    @classmethod
    def parse(cls, frame: bytes) -> Subscribe:
        return cls(*_parse_question(frame))


class History(NamedTuple):
    """HISTORY: a page of a room's history."""

    number: int
    room: bytes
    limit: int
    """The most messages"""
    since: Since | None = None

    def pack(self) -> bytes:
        return _pack_question(HISTORY, *self)

    @classmethod
    def parse(cls, frame: bytes) -> History:
        return cls(*_parse_question(frame))


class Join(NamedTuple):
    """JOIN: a member and, unless it is ``announced``, the records of its room."""

    number: int
    room: bytes
    member: int
    since: Since | None = None
    user: bytes = b""
    info: bytes | None = None
    """None: it is only counted"""
    announced: bool = False

    def pack(self) -> bytes:
        flags, *since = _since(self.since)
        info = self.info
        if info is not None:
            flags |= LISTED
        if self.announced:
            flags |= ANNOUNCED
        body = self.room + self.user + (info or b"")
        sizes = (len(self.room), len(self.user), len(info or b""))
        size = _JOIN.size + len(body)
        return _JOIN.pack(size, JOIN, flags, *sizes, self.number, self.member, *since) + body

    @classmethod
    def parse(cls, frame: bytes) -> Join:
        expect_at_least(frame, _JOIN)
        _, _, flags, length, by, about, number, member, *since = _JOIN.unpack_from(frame)
        user = _JOIN.size + length
        info = user + by
        expect_size(frame, info + about)
        expect_room(length)
        if about > MAX_INFO_BYTES:
            raise MalformedFrame(f"an info of {about} bytes")
        return cls(
            number,
            frame[_JOIN.size : user],
            member,
            _parse_since(flags, *since),
            frame[user:info],
            frame[info:] if flags & LISTED else None,
            bool(flags & ANNOUNCED),
        )


class Leave(NamedTuple):
    """LEAVE: the member has left."""

    room: bytes
    member: int
    listed: bool

    def pack(self) -> bytes:
        flags = LISTED if self.listed else 0
        size = _LEAVE.size + len(self.room)
        return _LEAVE.pack(size, LEAVE, flags, len(self.room), self.member) + self.room

    @classmethod
    def parse(cls, frame: bytes) -> Leave:
        expect_at_least(frame, _LEAVE)
        _, _, flags, length, member = _LEAVE.unpack_from(frame)
        return cls(_only_room(frame, _LEAVE.size, length), member, bool(flags & LISTED))


class Members(NamedTuple):
    """MEMBERS: who is in the room."""

    number: int
    room: bytes

    def pack(self) -> bytes:
        return (
            _NAMED.pack(_NAMED.size + len(self.room), MEMBERS, len(self.room), self.number)
            + self.room
        )

    @classmethod
    def parse(cls, frame: bytes) -> Members:
        return cls(*_parse_named(frame))


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE: the worker has nobody in the room any more."""

    room: bytes

    def pack(self) -> bytes:
        return _NAMED.pack(_NAMED.size + len(self.room), UNSUBSCRIBE, len(self.room), 0) + self.room

    @classmethod
    def parse(cls, frame: bytes) -> Unsubscribe:
        return cls(_parse_named(frame)[1])


def pack_publish(
    counter: int,
    room: bytes,
    payload: bytes,
    *,
    flags: int = 0,
    user: bytes = b"",
    key: bytes = b"",
) -> bytes:
    """Pack PUBLISH; ``flags`` are the record's and FROM_MEMBER; KEYED follows from ``key``."""
    if key:
        flags |= KEYED
    size = _PUBLISH_BYTES + len(room) + len(user) + len(key) + len(payload)
    head = _PUBLISH.pack(size, PUBLISH, flags, len(room), len(user), counter)
    return b"".join((head, room, user, key, payload))


def pack_close(counter: int, room: bytes) -> bytes:
    """Pack CLOSE."""
    return _PUBLISH.pack(_PUBLISH_BYTES + len(room), CLOSE, 0, len(room), 0, counter) + room


def parse_publish(frame: bytes) -> tuple[int, int, bytes, bytes, bytes, bytes]:
    """Parse PUBLISH or CLOSE: (counter, flags, room, user, key, payload).

    A tuple and no class, since every message passes here.
    """
    try:
        _, _, flags, length, by, counter = _PUBLISH.unpack_from(frame)
    except struct.error:
        raise MalformedFrame(f"frame {frame[4]} of {len(frame)} bytes") from None
    user = _PUBLISH_BYTES + length
    key = user + by
    payload = key + KEY_SIZE if flags & KEYED else key
    if payload > len(frame) or not 0 < length <= MAX_ROOM_BYTES:
        raise MalformedFrame(
            f"frame {frame[4]} of {len(frame)} bytes, with a room of {length} and a user of {by}"
        )
    return (
        counter,
        flags,
        frame[_PUBLISH_BYTES:user],
        frame[user:key],
        frame[key:payload],
        frame[payload:],
    )


def _pack_question(kind: int, number: int, room: bytes, amount: int, since: Since | None) -> bytes:
    flags, *position = _since(since)
    size = _QUESTION.size + len(room)
    return _QUESTION.pack(size, kind, flags, len(room), number, amount, *position) + room


def _parse_question(frame: bytes) -> tuple[int, bytes, int, Since | None]:
    expect_at_least(frame, _QUESTION)
    _, _, flags, length, number, amount, *since = _QUESTION.unpack_from(frame)
    room = _only_room(frame, _QUESTION.size, length)
    return number, room, amount, _parse_since(flags, *since)


def _parse_named(frame: bytes) -> tuple[int, bytes]:
    expect_at_least(frame, _NAMED)
    _, _, length, number = _NAMED.unpack_from(frame)
    return number, _only_room(frame, _NAMED.size, length)


def _only_room(frame: bytes, at: int, length: int) -> bytes:
    """Return the room of a frame that ends with it."""
    expect_size(frame, at + length)
    expect_room(length)
    return frame[at:]


def _since(since: Since | None) -> tuple[int, int, int, bytes]:
    """Return flags, offset, time and epoch; those that no broker has become nobody's."""
    if since is None:
        return 0, 0, 0, bytes(EPOCH_BYTES)
    epoch = since.epoch.encode(errors="replace")
    known = 0 <= since.offset < 1 << 63 and 0 <= since.at < 1 << 63
    if len(epoch) != EPOCH_BYTES or not known:
        return SINCE, 0, 0, bytes(EPOCH_BYTES)
    return SINCE, since.offset, since.at, epoch


def _parse_since(flags: int, offset: int, at: int, epoch: bytes) -> Since | None:
    # Latin-1 takes any bytes; an epoch is ASCII, so what is not compares unequal.
    return Since(epoch.decode("latin-1"), offset, at) if flags & SINCE else None

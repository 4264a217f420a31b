"""Frames from the broker to a worker: packing and parsing; ``rooms`` says what they mean.

Rules. As in ``asking``: what a frame says of its own parts is checked. Records are not packed here: those
that are sent are the bytes that were stored.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from mpchat.ipc.framing import (
    MalformedFrame,
    expect_at_least,
    expect_exactly,
    expect_size,
)
from mpchat.ipc.rooms import (
    ACK,
    LOST,
    MARK,
    MEMBERS_PAGE,
    PRESENCE,
    REFUSED,
    WELCOME,
    Change,
    Listed,
    Reason,
    Status,
    expect_room,
)

_WELCOME = struct.Struct("<IBBI16sQQ")
_ANSWER = struct.Struct("<IBBBIQQQ")
_ACK = struct.Struct("<IBBQQQ")
ACK_BYTES: Final = _ACK.size
ACK_COUNTER, ACK_OFFSET, ACK_TIME = 6, 14, 22
"""Where these numbers are: a worker reads them there, as every message passes"""
_REFUSED = struct.Struct("<IBBQ")
_MARK = struct.Struct("<IBQQ")
_PRESENCE = struct.Struct("<IBBBHHQQ")
_MEMBERS = struct.Struct("<IBBIII")
_ENTRY = struct.Struct("<QQHH")

FORM: Final = tuple(
    layout.format
    for layout in (_WELCOME, _ANSWER, _ACK, _REFUSED, _MARK, _PRESENCE, _MEMBERS, _ENTRY)
)
"""What both ends must agree on."""


class Welcome(NamedTuple):
    """WELCOME: what the broker has."""

    flags: int
    """STORED"""
    largest: int
    """Bytes of room, user, key and payload of the largest message that is taken"""
    epoch: str
    floor: int
    mark: int

    def pack(self) -> bytes:
        epoch = self.epoch.encode("ascii")
        numbers = (self.floor, self.mark)
        return _WELCOME.pack(_WELCOME.size, WELCOME, self.flags, self.largest, epoch, *numbers)

    @classmethod
    def parse(cls, frame: bytes) -> Welcome:
        expect_exactly(frame, _WELCOME)
        _, kind, flags, largest, epoch, floor, mark = _WELCOME.unpack(frame)
        if kind != WELCOME:
            raise MalformedFrame(f"frame {kind} where WELCOME is expected")
        return cls(flags, largest, epoch.decode("latin-1"), floor, mark)


class Answer(NamedTuple):
    """JOINED or HISTORY_PAGE."""

    kind: int
    number: int
    flags: int = 0
    """RECOVERED, MORE, LISTS"""
    status: Status = Status.OK
    offset: int = 0
    """Where the asker stands before ``records``: its own position if recovered, else the room's end"""
    at: int = 0
    """Wall milliseconds of the room's newest message; 0: it has none"""
    mark: int = 0
    records: bytes = b""
    """One after the other, oldest first; see ``split_frames``"""

    def pack(self) -> bytes:
        kind, number, flags, status, offset, at, mark, records = self
        size = _ANSWER.size + len(records)
        return _ANSWER.pack(size, kind, flags, status, number, offset, at, mark) + records

    @classmethod
    def parse(cls, frame: bytes) -> Answer:
        expect_at_least(frame, _ANSWER)
        _, kind, flags, status, number, offset, at, mark = _ANSWER.unpack_from(frame)
        try:
            known = Status(status)
        except ValueError:
            raise MalformedFrame(f"frame {kind} with the status {status}") from None
        return cls(kind, number, flags, known, offset, at, mark, frame[_ANSWER.size :])


class Presence(NamedTuple):
    """PRESENCE: a hint."""

    change: Change
    room: bytes
    listed: Listed | None
    """None: the change names nobody"""

    def pack(self) -> bytes:
        incarnation, member, user, info = self.listed or (0, 0, b"", b"")
        body = self.room + user + info
        sizes = (len(self.room), len(user), len(info))
        size = _PRESENCE.size + len(body)
        return _PRESENCE.pack(size, PRESENCE, self.change, *sizes, incarnation, member) + body

    @classmethod
    def parse(cls, frame: bytes) -> Presence:
        expect_at_least(frame, _PRESENCE)
        _, _, change, length, by, about, incarnation, member = _PRESENCE.unpack_from(frame)
        user = _PRESENCE.size + length
        info = user + by
        expect_size(frame, info + about)
        expect_room(length)
        try:
            known = Change(change)
        except ValueError:
            raise MalformedFrame(f"PRESENCE with the change {change}") from None
        listed = None
        if known in {Change.JOINED, Change.LEFT}:
            listed = Listed(incarnation, member, frame[user:info], frame[info:])
        return cls(known, frame[_PRESENCE.size : user], listed)


class MembersPage(NamedTuple):
    """MEMBERS_PAGE: one of the frames that answer MEMBERS."""

    number: int
    flags: int
    """MORE: another frame follows. LISTS; without it presence is off, and there are no entries"""
    total: int
    """All members of the room, listed or not"""
    entries: Sequence[Listed]

    def pack(self) -> bytes:
        body = b"".join(
            _ENTRY.pack(incarnation, member, len(user), len(info)) + user + info
            for incarnation, member, user, info in self.entries
        )
        numbers = (self.flags, self.number, self.total, len(self.entries))
        return _MEMBERS.pack(_MEMBERS.size + len(body), MEMBERS_PAGE, *numbers) + body

    @classmethod
    def parse(cls, frame: bytes) -> MembersPage:
        expect_at_least(frame, _MEMBERS)
        _, _, flags, number, total, count = _MEMBERS.unpack_from(frame)
        entries: list[Listed] = []
        at, end = _MEMBERS.size, len(frame)
        for _ in range(count):
            if at + _ENTRY.size > end:
                raise MalformedFrame(f"MEMBERS_PAGE with {len(entries)} of {count} entries")
            incarnation, member, by, about = _ENTRY.unpack_from(frame, at)
            user = at + _ENTRY.size
            info = user + by
            at = info + about
            entries.append(Listed(incarnation, member, frame[user:info], frame[info:at]))
        expect_size(frame, at)
        return cls(number, flags, total, entries)


def pack_ack(flags: int, counter: int, offset: int, at: int) -> bytes:
    """Pack ACK; ``flags`` are REPEATED or nothing."""
    return _ACK.pack(ACK_BYTES, ACK, flags, counter, offset, at)


def pack_refused(reason: Reason, counter: int) -> bytes:
    """Pack REFUSED."""
    return _REFUSED.pack(_REFUSED.size, REFUSED, reason, counter)


def parse_refused(frame: bytes) -> tuple[Reason, int]:
    """Parse REFUSED: (reason, counter)."""
    expect_exactly(frame, _REFUSED)
    _, _, reason, counter = _REFUSED.unpack(frame)
    try:
        return Reason(reason), counter
    except ValueError:
        raise MalformedFrame(f"REFUSED with the reason {reason}") from None


class Mark(NamedTuple):
    """MARK or LOST."""

    offset: int
    """The mark, or the floor"""
    at: int
    """When what stands at the mark was stored, in wall milliseconds; 0: not known"""


def pack_mark(offset: int, at: int = 0) -> bytes:
    """Pack MARK."""
    return _MARK.pack(_MARK.size, MARK, offset, at)


def pack_lost(floor: int) -> bytes:
    """Pack LOST."""
    return _MARK.pack(_MARK.size, LOST, floor, 0)


def parse_mark(frame: bytes) -> Mark:
    """Parse MARK or LOST."""
    expect_exactly(frame, _MARK)
    return Mark(*_MARK.unpack(frame)[2:])

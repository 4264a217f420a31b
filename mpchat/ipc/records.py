"""A stored record: the bytes that the broker writes to its history are those that it sends to workers.

All numbers are little endian. A record is a header of 56 bytes, what the header gives the lengths of, and
a CRC:

    At  Field        Type  Meaning
     0  size         u32   Bytes of the whole record, the CRC included
     4  kind         u8    MESSAGE, or CLOSED: the room ends here
     5  flags        u8    BINARY, KEYED
     6  room         u8    Bytes of the room's name, at least 1
     7  user         u8    Bytes of the publisher's user; 0: nobody's
     8  offset       u64   The message's place in the order of all rooms: rising, with holes
    16  prev         u64   Offset of the room's record before, or UNKNOWN | OFFSET: the room has no record
                           between this OFFSET and this one, and nothing is known of it before
    24  at           u64   Wall clock in ms, for people
    32  stamp        u64   Monotonic clock in ms, for limits of age: nobody sets this clock
    40  incarnation  u64   The worker that published it; 0: the broker itself, which repeats nothing
    48  counter      u64   The worker's number of this publish
    56  room's name, user, key (16 bytes, if KEYED), payload
    -4  crc          u32   CRC-32 of all bytes before it, continued from that of the record before

Rules. Kinds below 16 are records; the other frames between worker and broker have kinds from 16 on, and
begin with size and kind as well. Text is UTF-8. Nobody but the history looks at the CRC. On the hot path
a reader unpacks ``HEADER`` once and takes slices; ``parse`` makes an object, and is for all others. An
incarnation's number never comes again while the history's file lives, or a new worker's publishes would
pass for repetitions of an old one's.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from mpchat.ipc.numbers import u64_at

HEADER = struct.Struct("<IBBBBQQQQQQ")
"""size, kind, flags, room, user, offset, prev, at, stamp, incarnation, counter"""
CRC = struct.Struct("<I")

MESSAGE, CLOSED = 1, 2
FIRST_OTHER_KIND = 16
"""Frames from this kind on are no records"""

BINARY, KEYED = 1, 2
"""Flags: the payload is no text; the publish has a client's key"""
KEY_SIZE = 16
LONGEST_NAME = 255
"""Bytes of a room's name, and of a user, at most"""
OVERHEAD = HEADER.size + CRC.size
"""Bytes of a record beside room, user, key and payload"""

UNKNOWN = 1 << 63
"""Bit of ``prev``"""

OFFSET, AT, STAMP = 8, 24, 32
"""Where these numbers are"""
_NAME = HEADER.size


class Record(NamedTuple):
    """A record's fields.

    Attributes:
        kind: ``MESSAGE`` or ``CLOSED``.
        flags: ``BINARY`` and ``KEYED``.
        user: Empty: nobody's.
        prev: As in the header.
        at: Milliseconds of the wall clock.
        stamp: Milliseconds of the monotonic clock.
        key: Empty without ``KEYED``.
    """

    kind: int
    flags: int
    room: bytes
    user: bytes
    offset: int
    prev: int
    at: int
    stamp: int
    incarnation: int
    counter: int
    key: bytes
    payload: bytes


def parse(record: bytes) -> Record:
    """Return the fields of one whole record."""
    size, kind, flags, room, user, *numbers = HEADER.unpack_from(record)
    offset, prev, at, stamp, incarnation, counter = numbers
    named = _NAME + room
    told = named + user
    keyed = told + (KEY_SIZE if flags & KEYED else 0)
    return Record(
        kind,
        flags,
        record[_NAME:named],
        record[named:told],
        offset,
        prev,
        at,
        stamp,
        incarnation,
        counter,
        record[told:keyed],
        record[keyed : size - CRC.size],
    )


def offset_of(record: bytes) -> int:
    """Return the record's offset."""
    return u64_at(record, OFFSET)


def at_of(record: bytes) -> int:
    """Return the record's time, in milliseconds of the wall clock."""
    return u64_at(record, AT)


def size_of(room: bytes, user: bytes, key: bytes, payload: bytes) -> int:
    """Return how many bytes the record of this publish takes."""
    return OVERHEAD + len(room) + len(user) + len(key) + len(payload)


def pack(
    kind: int,
    flags: int,
    room: bytes,
    user: bytes,
    key: bytes,
    payload: bytes,
    offset: int,
    prev: int,
    at: int,
    stamp: int,
    incarnation: int,
    counter: int,
    crc: int = 0,
) -> tuple[bytes, int]:
    """Return the record's bytes and its CRC, which continues ``crc``.

    ``flags`` has ``KEYED`` if there is a key.

    Raises:
        struct.error: A number or a name is too large.
    """
    size = OVERHEAD + len(room) + len(user) + len(key) + len(payload)
    numbers = offset, prev, at, stamp, incarnation, counter
    header = HEADER.pack(size, kind, flags, len(room), len(user), *numbers)
    head = b"".join((header, room, user, key, payload))
    crc = crc32(head, crc)
    return head + CRC.pack(crc), crc

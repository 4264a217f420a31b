"""Reading the log: one room's records backwards, for those who come back; all forwards, for a worker.

Rules. Only what is written is read. A room's limits are applied on the way back, so a publish pays
nothing for them. No gap is silent: either all records since an offset are found, or the answer says
that they are not. A record whose place or CRC is wrong is damage.
"""

from __future__ import annotations

import struct
from collections.abc import Container
from typing import NamedTuple
from zlib import crc32

from mpchat.broker.segments import FOOTER, HEADER_SIZE, Segments
from mpchat.ipc.records import CLOSED, CRC, HEADER, OVERHEAD, UNKNOWN
from mpchat.ipc.rooms import PAGE_BYTES

PAGE = PAGE_BYTES
"""Bytes of records in one answer, and bytes that one step of following looks at, at most"""

_HEAD = struct.Struct("<IBxBxQ")
"""size, kind, room, offset of a header"""


class Limits(NamedTuple):
    """How far a room's history reaches back.

    Attributes:
        messages: Their number, at most.
        bytes: Their records' bytes, at most.
        age: Milliseconds, at most.
    """

    messages: int
    bytes: int
    age: int


class Since(NamedTuple):
    """The records of a room since an offset.

    Attributes:
        recovered: They are all; else the history did not reach back so far, or the room was closed since.
        records: The oldest of them, oldest first, up to the bytes of a page, and at least one.
        more: There are others: ask again, from the last one's offset.
        closed: The room was closed since.
    """

    recovered: bool
    records: list[bytes]
    more: bool
    closed: bool = False


class Last(NamedTuple):
    """A room's last record.

    Attributes:
        at: Milliseconds of the wall clock.
        closed: It is the end of the room.
    """

    offset: int
    at: int
    closed: bool


def walk_back(
    segments: Segments, start: int, floor: int, offset: int, limits: Limits, now: int
) -> Since:
    """Return a room's records since ``offset``; ``start`` is its last record, as in ``prev``.

    Raises:
        Damaged: A record is wrong.
        OSError: The system cannot read the file.
    """
    places: list[tuple[int, int]] = []
    messages, held, horizon = limits.messages, limits.bytes, now - limits.age
    read, unpack, count = segments.read, HEADER.unpack, HEADER.size
    place, recovered, closed = start, False, False
    while True:
        if place & UNKNOWN:
            recovered = offset >= place ^ UNKNOWN
            break
        if place <= offset:
            recovered = True
            break
        if place < floor:
            break
        size, kind, _flags, _room, _user, found, prev, _at, stamp, *_id = unpack(read(place, count))
        if found != place or prev & ~UNKNOWN >= place or size < OVERHEAD:
            raise segments.damaged(f"there is no record at {place}")
        messages -= 1
        held -= size
        closed = kind == CLOSED
        if closed or messages < 0 or held < 0 or stamp < horizon:
            break
        places.append((place, size))
        place = prev
    return _page(segments, places, recovered)._replace(closed=closed)


def _page(segments: Segments, places: list[tuple[int, int]], recovered: bool) -> Since:
    """Read the oldest of these records; they come newest first."""
    records: list[bytes] = []
    held = 0
    while places and (not records or held + places[-1][1] <= PAGE):
        place, size = places.pop()
        records.append(_checked(segments, place, size))
        held += size
    return Since(recovered, records, bool(places))


def _checked(segments: Segments, place: int, size: int) -> bytes:
    """Return the record, whose CRC continues the four bytes before it."""
    data = segments.read(place - CRC.size, CRC.size + size)
    _check(segments, memoryview(data), CRC.size, size, place)
    return data[CRC.size :]


def _check(segments: Segments, data: memoryview, at: int, size: int, offset: int) -> None:
    """Raise ``Damaged`` unless the record in ``data`` at ``at`` has the right CRC."""
    crc = crc32(data[at : at + size - CRC.size], CRC.unpack_from(data, at - CRC.size)[0])
    if CRC.unpack_from(data, at + size - CRC.size)[0] != crc:
        raise segments.damaged(f"the record at {offset} is wrong")


def follow(
    segments: Segments, offset: int, end: int, rooms: Container[bytes], most: int
) -> tuple[list[bytes], int]:
    """Return records of these rooms from ``offset`` on, and where to go on; the log ends at ``end``.

    One call looks at a page or a record, so there may be none yet. ``most``: bytes, and the record
    that exceeds them.

    Raises:
        Damaged: A record is wrong.
        OSError: The system cannot read the file.
    """
    if offset % segments.size == 0:
        offset += HEADER_SIZE
    behind = (offset // segments.size + 1) * segments.size
    # With the CRC that the first one continues.
    start = offset - CRC.size
    data = segments.read(start, min(PAGE, behind - start))
    view, records, held = memoryview(data), list[bytes](), 0
    while offset < end and held < most:
        at = offset - start
        if at + _HEAD.size > len(data):
            break
        size, kind, room, found = _HEAD.unpack_from(data, at)
        if kind == FOOTER:
            return records, behind
        if found != offset or size < OVERHEAD or offset + size > min(end, behind):
            raise segments.damaged(f"there is no record at {offset}")
        if at + size > len(data):
            if at > CRC.size:
                break
            data = segments.read(start, CRC.size + size)
            view = memoryview(data)
        name = at + HEADER.size
        if data[name : name + room] in rooms:
            _check(segments, view, at, size, offset)
            records.append(data[at : at + size])
            held += size
        offset += size
    return records, offset

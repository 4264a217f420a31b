"""What a new broker finds in the history's file.

Rules. The rooms of a full segment are in its footer. Its records are read only if some of their ids may
still come again, so most of a large file is not read. The newest segment is read up to the first record
that is not whole, which was never answered. A segment is missing only where a death explains it: in one
slot, whose next header was torn. All else that does not fit is damage.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from mpchat.broker.ids import OPEN, Ids
from mpchat.broker.segments import HEADER_SIZE, Damaged, Header, Segments
from mpchat.ipc.records import CLOSED, CRC, HEADER, KEY_SIZE, KEYED, OVERHEAD


@dataclass
class Found:
    """A log, ready to be written on.

    Attributes:
        newest: The header of the segment that is written.
        oldest: Number of the oldest segment that is kept.
        end: Where the log ends.
        chain: The CRC there.
        last: Each room's last offset.
        rooms: The rooms of the newest segment.
    """

    newest: Header
    oldest: int
    end: int
    chain: int
    last: dict[bytes, int]
    rooms: list[bytes]


def anew(segments: Segments, number: int, now: int) -> Found:
    """Begin an epoch with this segment, and return its log.

    Raises:
        OSError: The system cannot write the file.
    """
    start = number * segments.size
    newest = Header(os.urandom(12), number, number, start, 0, now)
    packed = segments.enter(newest)
    segments.write(start, packed)
    chain = CRC.unpack(packed[-CRC.size :])[0]
    return Found(newest, number, start + HEADER_SIZE, chain, {}, [])


def recover(segments: Segments, ids: Ids, now: int, window: int) -> Found:
    """Return the log that is in the file, or a new one if there is none, and enter the ids.

    ``now`` is of the monotonic clock, ``window`` is for how long ids are kept, in milliseconds.

    Raises:
        Damaged: Something does not fit.
        OSError: The system cannot read or write the file.
    """
    horizon = now - window
    headers = segments.headers()
    number = max(headers, default=0)
    _check_torn(segments, headers, number)
    if not headers:
        return anew(segments, 1, now)
    newest = headers[number]
    segments.enter(newest)
    if newest.condemned:
        raise Damaged("a reader found damage in it", number)
    oldest = number - segments.slots + 1
    if oldest not in headers:
        # Its slot is that of the next header.
        oldest += 1
    oldest = max(newest.first, oldest)
    last: dict[bytes, int] = {}
    for full in range(oldest, number):
        header, following = headers.get(full), headers.get(full + 1)
        if header is None or following is None or header.epoch != newest.epoch:
            raise Damaged(f"segment {full} is missing", number)
        rooms = segments.footer(full, following.end, following.chain)
        if rooms is None:
            raise Damaged(f"the footer of segment {full} is wrong", number)
        last.update(rooms)
        if following.born >= horizon:
            scan = _scan(segments, header, ids, horizon, rooms=False)
            if (scan.end, scan.chain) != (following.end, following.chain):
                raise Damaged(f"segment {full} is wrong at {scan.end}", number)
    scan = _scan(segments, newest, ids, horizon, rooms=True)
    if scan.goes_on:
        raise Damaged(f"segment {number} is wrong at {scan.end}, and goes on", number)
    last.update(scan.rooms)
    return Found(newest, oldest, scan.end, scan.chain, last, list(scan.rooms))


def _check_torn(segments: Segments, headers: dict[int, Header], newest: int) -> None:
    """Tell a header that was torn when its broker died from one that was destroyed later.

    Records are never in the file before their segment's header. So if a slot without a header holds a
    record of a newer segment, the header was whole once.

    Raises:
        Damaged: It was destroyed.
    """
    held = {number % segments.slots for number in headers}
    for slot in range(segments.slots):
        if slot in held:
            continue
        content = segments.read(slot * segments.size + HEADER_SIZE, HEADER.size)
        offset = HEADER.unpack(content)[5]
        number, place = divmod(offset, segments.size)
        if place == HEADER_SIZE and number % segments.slots == slot and number > newest:
            raise Damaged(f"the header of segment {number} is wrong", number)


class _Scan(NamedTuple):
    end: int
    chain: int
    rooms: dict[bytes, int]
    goes_on: bool
    """The record behind the last whole one is wrong, and is followed by another one"""


def _scan(segments: Segments, header: Header, ids: Ids, horizon: int, *, rooms: bool) -> _Scan:
    """Read the records of a segment, enter ids that are not older than the horizon, and list rooms."""
    data = segments.segment(header.number)
    view, unpack, crc_at = memoryview(data), HEADER.unpack_from, CRC.unpack_from
    base, chain, last = header.number * segments.size, header.crc, dict[bytes, int]()
    place, most = HEADER_SIZE, len(data)
    young, turn_at, known, places = ids.young, ids.turn_at, 0, array("Q")
    while place + OVERHEAD <= most:
        size, kind, flags, room, user, offset, _prev, _at, stamp, incarnation, counter = unpack(
            data, place
        )
        end = place + size
        if offset != base + place or kind > CLOSED or size < OVERHEAD or end > most:
            break
        crc = crc32(view[place : end - 4], chain)
        if crc_at(data, end - 4)[0] != crc:
            break
        chain = crc
        told = place + HEADER.size + room
        if rooms:
            last[data[place + HEADER.size : told]] = offset
        if stamp >= horizon:
            if stamp >= turn_at or len(young) >= ids.share:
                ids.turn(stamp, offset)
                young, turn_at, known = ids.young, ids.turn_at, 0
            if flags & KEYED:
                young[data[told + user : told + user + KEY_SIZE]] = offset
            if incarnation:
                if incarnation != known:
                    known, places = incarnation, ids.places(incarnation)
                places[counter % OPEN] = offset
                places[OPEN + counter % OPEN] = counter
        place = end
    return _Scan(base + place, chain, last, _goes_on(data, place, base))


def _goes_on(data: bytes, place: int, base: int) -> bool:
    """Return whether a whole record of this lap follows the one at ``place``, which is not whole.

    A death leaves the beginning of what was to be written, and nothing behind it.
    """
    if place + OVERHEAD > len(data):
        return False
    behind = place + int.from_bytes(data[place : place + 4], "little")
    if behind < place + OVERHEAD or behind + OVERHEAD > len(data):
        return False
    size, _kind, _flags, _room, _user, offset, *_rest = HEADER.unpack_from(data, behind)
    end = behind + size - CRC.size
    if offset != base + behind or size < OVERHEAD or end + CRC.size > len(data):
        return False
    crc = crc32(data[behind:end], CRC.unpack_from(data, behind - CRC.size)[0])
    return crc == int.from_bytes(data[end : end + CRC.size], "little")

"""The history of all rooms: a log in a file of memory that outlives every broker.

The offset of a message is its place in the log: it rises over all rooms, needs no index, and goes on
after any death. Each record names its room's record before, so a room costs one entry and a message
none.

Rules. Nobody hears of what is appended before ``commit`` has written it, all of a turn at once; then
come answers, deliveries and readers. A write that fails ends the broker: recovery is the only repair. A
position that has seen everything is ``mark``, one less than the end, which is the next message's
offset. When the file is full, its oldest segment goes, and with it the rooms that have nothing newer.
Nothing depends on the wall clock.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Container, Mapping
from zlib import crc32

from mpchat.broker.clock import monotonic_ms
from mpchat.broker.ids import MOST_KEYS, OPEN, WINDOW, Ids
from mpchat.broker.reading import PAGE, Last, Limits, Since, follow, walk_back
from mpchat.broker.recovery import anew, recover
from mpchat.broker.segments import (
    ENTRY_SIZE,
    FOOTER_SIZE,
    HEADER_SIZE,
    Damaged,
    Segments,
    pack_footer,
    segment_size,
)
from mpchat.ipc.records import CLOSED, CRC, HEADER, OVERHEAD, UNKNOWN, at_of, offset_of
from mpchat.linux import system


class History:
    """The log of a file, as its only writer.

    Attributes:
        stored: It outlives its broker.
        epoch: 16 characters that are safe in a URL: which log this is.
        floor: Nothing before this offset is kept.
        end: Where the log ends; ``commit`` raises it.
        largest: Bytes of the largest record, as ``records.size_of`` counts them.
        damage: What was wrong with the file, so that a new epoch began, for the log; empty: nothing.
        segment_size: Bytes of a segment.
        ids: Of the publishes that may be repeated.
    """

    stored = True

    def __init__(
        self,
        descriptor: int,
        *,
        clock: Callable[[], int] = monotonic_ms,
        segment: int = 0,
        window: int = WINDOW,
        most_keys: int = MOST_KEYS,
    ) -> None:
        """Recover what the file holds.

        Args:
            descriptor: A file of fixed size, new or of an earlier broker; it stays the caller's.
            clock: Returns milliseconds of a monotonic clock, the same in each broker's life.
            segment: Bytes of a segment; by default what fits the file.
            window: Milliseconds for which ids are kept.
            most_keys: Clients' keys that are kept, at most.

        Raises:
            OSError: The system cannot read or write the file.
        """
        size = segment or segment_size(system.fstat(descriptor).st_size)
        self._segments = Segments(descriptor, size)
        self._now = clock
        self.segment_size, self.largest = size, self._segments.largest
        self.damage = ""
        self.ids = Ids(window, most_keys)
        try:
            found = recover(self._segments, self.ids, clock(), window)
        except Damaged as error:
            self.damage = f"{error}: all positions are void, and the history begins anew"
            self.ids = Ids(window, most_keys)
            found = anew(self._segments, error.number + 1, clock())
        self._newest = found.newest
        self.epoch = base64.urlsafe_b64encode(found.newest.epoch).decode()
        self._last = found.last
        self._staged: list[bytes] = []
        self._rolled: list[bytes] = []
        """Records of this turn that are written already"""
        self._stamp = 0
        self._header = b""
        """The newest segment's, if it is not written yet"""
        self._written = self.end = found.end
        self._place(found.oldest, found.end, found.chain, found.rooms)

    def _place(self, oldest: int, tail: int, chain: int, rooms: list[bytes]) -> None:
        """Go on in the newest segment: there the log ends with this CRC, and these rooms are in it."""
        size = self._segments.size
        self._oldest = oldest
        self.floor = oldest * size
        self._unknown = UNKNOWN | self.floor - 1
        self._tail, self._chain, self._rooms = tail, chain, rooms
        self._base = self._newest.number * size
        footer = FOOTER_SIZE + sum(ENTRY_SIZE + len(room) for room in rooms)
        self._until = self._base + size - footer

    @property
    def mark(self) -> int:
        """The position that has seen everything."""
        return self.end - 1

    def append(
        self,
        kind: int,
        flags: int,
        room: bytes,
        user: bytes,
        key: bytes,
        payload: bytes,
        at: int,
        incarnation: int,
        counter: int,
    ) -> int:
        """Give a publish its place, and return the offset; nobody may hear of it before ``commit``.

        The arguments are a record's fields: ``key`` has 16 bytes (and ``flags`` ``KEYED``) or none,
        ``at`` is in milliseconds of the wall clock, and an ``incarnation`` 0 repeats nothing.

        Raises:
            ValueError: The record is larger than ``largest``.
            OSError: A full segment cannot be written.
            Damaged: The oldest segment, which has to go, is wrong.
        """
        room_size, user_size = len(room), len(user)
        size = OVERHEAD + room_size + user_size + len(key) + len(payload)
        last = self._last
        prev = last.get(room)
        if prev is None:
            prev, entry = self._unknown, ENTRY_SIZE + room_size
        else:
            entry = 0 if prev >= self._base else ENTRY_SIZE + room_size
        offset = self._tail
        if offset + size + entry > self._until:
            self._roll(size)
            return self.append(kind, flags, room, user, key, payload, at, incarnation, counter)
        stamp = self._stamp
        if not stamp:
            stamp = self._stamp = self._now()
        header = HEADER.pack(
            size, kind, flags, room_size, user_size, offset, prev, at, stamp, incarnation, counter
        )
        head = b"".join((header, room, user, key, payload))
        self._chain = crc = crc32(head, self._chain)
        self._staged.append(head + CRC.pack(crc))
        self._tail = offset + size
        last[room] = offset
        if entry:
            self._until -= entry
            self._rooms.append(room)
        ids = self.ids
        if key:
            ids.young[key] = offset
        if incarnation:
            places = ids.places(incarnation)
            place = counter % OPEN
            places[place] = offset
            places[OPEN + place] = counter
        return offset

    def commit(self) -> list[bytes]:
        """Write what was appended, and return the records, in order: the very bytes for members.

        Raises:
            OSError: They are not written: the broker has to end.
        """
        records = self._staged
        if not records:
            return []
        self._write(b"")
        if self._rolled:
            records, self._rolled = self._rolled + records, []
        self._staged = []
        self.end = self._tail
        ids, stamp = self.ids, self._stamp
        self._stamp = 0
        if stamp >= ids.turn_at or len(ids.young) >= ids.share:
            ids.turn(stamp, self.end)
        return records

    def _write(self, footer: bytes) -> None:
        """Write what is staged, at once, behind its header and before its footer."""
        content = b"".join((self._header, *self._staged, footer))
        self._segments.write(self._written, content)
        self._written += len(content)
        self._header = b""

    def _roll(self, size: int) -> None:
        """End the segment, and begin the next one, whose header is written with its first records."""
        if size > self.largest:
            raise ValueError(f"a record of {size} bytes; {self.largest} fit into a segment")
        last, segments = self._last, self._segments
        self._write(pack_footer([(room, last[room]) for room in self._rooms], self._chain))
        self._rolled += self._staged
        self._staged = []
        number = self._newest.number + 1
        oldest = max(self._oldest, number - segments.slots + 1)
        if oldest > self._oldest:
            self._forget(self._oldest)
        self._newest = self._newest._replace(
            number=number, end=self._tail, chain=self._chain, born=self._now()
        )
        self._header = segments.enter(self._newest)
        self._written = number * segments.size
        tail, chain = self._written + HEADER_SIZE, CRC.unpack(self._header[-CRC.size :])[0]
        self._place(oldest, tail, chain, [])

    def _forget(self, number: int) -> None:
        """Forget the rooms whose last record goes with this segment."""
        following = self._segments.header(number + 1)
        rooms = following and self._segments.footer(number, following.end, following.chain)
        if rooms is None:
            raise self._segments.damaged(f"the footer of segment {number} is wrong")
        last = self._last
        for room, offset in rooms:
            if last.get(room) == offset:
                del last[room]

    def find_key(self, key: bytes) -> tuple[int, int] | None:
        """Return offset and time of the publish with this client's key, if it is kept.

        Raises:
            OSError: The system cannot read the file.
        """
        return self._found(self.ids.find_key(key))

    def find_own(self, incarnation: int, counter: int) -> tuple[int, int] | None:
        """Return offset and time of the worker's publish with this number, if it is kept.

        Raises:
            OSError: The system cannot read the file.
        """
        return self._found(self.ids.find_own(incarnation, counter))

    def _found(self, offset: int) -> tuple[int, int] | None:
        if offset < self.floor:
            return None
        if offset < self.end:
            return offset, at_of(self._segments.read(offset, HEADER.size))
        staged = (record for record in self._rolled + self._staged if offset_of(record) == offset)
        return offset, at_of(next(staged))

    @property
    def rooms(self) -> Mapping[bytes, int]:
        """The rooms that have records, with the offset of their last one."""
        return self._last

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._segments.size * self._segments.slots

    @property
    def used(self) -> int:
        """Bytes of it that hold what can be read."""
        return self.end - self.floor

    def last(self, room: bytes) -> Last | None:
        """Return what the room's last record is, if it is kept.

        Raises:
            OSError: The system cannot read the file.
        """
        self._settled()
        offset = self._last.get(room)
        if offset is None:
            return None
        header = HEADER.unpack(self._segments.read(offset, HEADER.size))
        return Last(offset, header[7], header[1] == CLOSED)

    def since(self, room: bytes, offset: int, limits: Limits) -> Since:
        """Return the room's records since this offset of the same epoch; 0: from the beginning.

        Raises:
            Damaged: A record is wrong: the broker has to end, and the next one begins a new epoch.
            OSError: The system cannot read the file.
        """
        self._settled()
        start = self._last.get(room, self._unknown)
        return walk_back(self._segments, start, self.floor, offset, limits, self._now())

    def follow(
        self, offset: int, rooms: Container[bytes], most: int = PAGE
    ) -> tuple[list[bytes], int]:
        """Return records of these rooms from ``offset`` on, and where to go on: at last, ``end``.

        One call looks at a page, so there may be no records before the end. ``offset`` is a record's,
        or what an earlier call has returned. ``most``: bytes, and the record that exceeds them.

        Raises:
            ValueError: The offset is below ``floor``.
            Damaged: A record is wrong: the broker has to end, and the next one begins a new epoch.
            OSError: The system cannot read the file.
        """
        self._settled()
        if offset < self.floor:
            raise ValueError(f"nothing is kept before {self.floor}; asked for {offset}")
        return follow(self._segments, offset, self.end, rooms, most)

    def _settled(self) -> None:
        if self._staged:
            raise RuntimeError("commit comes before reading")

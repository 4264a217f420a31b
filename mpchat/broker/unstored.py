"""Numbers for the messages of rooms without a history.

Rules. The interface is that of ``History``. Nothing is stored, so nothing is recovered, and no id is
known. An offset is a count, and each broker begins an epoch. Rooms are forgotten in two generations, as
a history forgets them with its segments: endless names take no memory, and ``prev`` says what is not
known.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Container, Mapping

from mpchat.broker.clock import monotonic_ms
from mpchat.broker.ids import Ids
from mpchat.broker.reading import PAGE, Last, Limits, Since
from mpchat.ipc import records
from mpchat.ipc.records import UNKNOWN

LARGEST = 1 << 20
ROOMS = 100_000
"""Rooms of a generation"""


class Unstored:
    """The order of messages that are not kept; attributes and methods are those of ``History``."""

    stored = False
    largest = LARGEST
    damage = ""

    def __init__(self, *, clock: Callable[[], int] = monotonic_ms, rooms: int = ROOMS) -> None:
        self._now = clock
        self._rooms = rooms
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._known = self._began = 1
        """Since these offsets every room's last record is known, and the young generation's"""
        self._next = self.end = 1
        self._staged: list[bytes] = []
        self.ids = Ids(0, 1)
        self.epoch = base64.urlsafe_b64encode(os.urandom(12)).decode()

    @property
    def floor(self) -> int:
        """Nothing is kept."""
        return self.end

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
        """Number a message, as ``History.append``.

        Raises:
            ValueError: The record is larger than ``largest``.
        """
        if (size := records.size_of(room, user, key, payload)) > self.largest:
            raise ValueError(f"a record of {size} bytes; {self.largest} are allowed")
        if len(self._young) >= self._rooms:
            self._old, self._young = self._young, {}
            self._known, self._began = self._began, self._next
        offset = self._next
        stamp = self._now()
        record, _crc = records.pack(
            kind,
            flags,
            room,
            user,
            key,
            payload,
            offset,
            self._start(room),
            at,
            stamp,
            incarnation,
            counter,
        )
        self._young[room] = offset
        self._next = offset + 1
        self._staged.append(record)
        return offset

    def commit(self) -> list[bytes]:
        """Return the records since the last call."""
        staged, self._staged = self._staged, []
        self.end = self._next
        return staged

    def find_key(self, _key: bytes) -> tuple[int, int] | None:
        """Know of no id."""
        return None

    def find_own(self, _incarnation: int, _counter: int) -> tuple[int, int] | None:
        """Know of no id."""
        return None

    @property
    def rooms(self) -> Mapping[bytes, int]:
        """No room has a record that could be read."""
        return {}

    @property
    def size(self) -> int:
        """Bytes of the file: there is none."""
        return 0

    @property
    def used(self) -> int:
        """Bytes of it that are used."""
        return 0

    def last(self, _room: bytes) -> Last | None:
        """Know of no record."""
        return None

    def _start(self, room: bytes) -> int:
        last = self._young.get(room) or self._old.get(room)
        return last or UNKNOWN | self._known - 1

    def since(self, room: bytes, offset: int, _limits: Limits) -> Since:
        """Return no records, and whether there were none since this offset."""
        return Since(offset >= self._start(room) & ~UNKNOWN, [], more=False)

    def follow(
        self, _offset: int, _rooms: Container[bytes], _most: int = PAGE
    ) -> tuple[list[bytes], int]:
        """Return nothing: a worker that is behind has lost what it has not got."""
        return [], self.end

"""The scoreboard: shared memory in which workers show what they do, and the supervisor what it knows.

Rules. The supervisor creates it before the first worker. A slot has two rows, one for each worker it
may have at a time; a row has one writer at a time, and whoever reads never writes. Every value is one
64-bit item stored through ``memoryview.cast("Q")``: such a store is never seen half done, a ``struct``
write is. A new incarnation continues the totals of the row it takes; the supervisor zeroes the gauges
of a dead one, so sums over the rows of a slot never fall. What the supervisor says of a slot (SLOT_NAMES)
stands apart from the rows. Times are milliseconds of the system's monotonic clock.
"""

from __future__ import annotations

import mmap
import os

from mpchat.ipc.addresses import ITEMS, AddressTable
from mpchat.ipc.counters import GAUGES, TOTALS, Counters

MAGIC = 0x6D70_6368_6174_0002
"""The letters mpchat and the version of this layout."""
SLOTS = 256
ROWS = 2

_HEADER = 8
SERVICE_NAMES = ("slots", "generation", "started")
"""What the supervisor says of the service: slots of the pool, newest generation, when it was ready."""
SLOT_NAMES = ("restarts", "state_0", "pid_0", "since_0", "state_1", "pid_1", "since_1")
"""What the supervisor says of a slot: workers started after the first, then of each row's worker."""
WORKER_STATES = ("none", "starting", "ready", "retiring", "stopping")
"""Meaning of state_0 and state_1, by number."""
STATE_NAMES = ("pid", "heartbeat", "beat_at", "lag_us", "generation")
"""What a row says of its worker beside the counters: beats of its loop, when the last one was, and the
longest that the loop was late within the last second, in microseconds."""
HANDLERS = 16
"""Handlers of one service that are counted each for itself."""
_HANDLER_NAMES = tuple(
    f"handler_{what}_{index}" for what in ("connections", "handshakes") for index in range(HANDLERS)
)
NAMES = STATE_NAMES + TOTALS + GAUGES + _HANDLER_NAMES
_WIDTH = 64
_FIRST_COUNTER = len(STATE_NAMES)
_INDEX = {name: index for index, name in enumerate(NAMES)}
_SLOT_WIDTH = 8
_SLOT_AREA = _HEADER + SLOTS * ROWS * _WIDTH
_TABLES = _SLOT_AREA + SLOTS * _SLOT_WIDTH
_SIZE = 8 * (_TABLES + SLOTS * ROWS * ITEMS)
_KEY_BYTES = 32
_SERVICE = 1 + _KEY_BYTES // 8


class Scoreboard:
    """The mapped memory; the same class for the supervisor, workers and readers."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)
        self._items = memoryview(self._map).cast("Q")
        if self._items[0] != MAGIC:
            raise ValueError("this is not a scoreboard of this version of mpchat")

    @classmethod
    def create(cls) -> Scoreboard:
        """Make an empty one; its descriptor is what children are given."""
        descriptor = os.memfd_create("mpchat-scoreboard", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        os.pwrite(descriptor, MAGIC.to_bytes(8, "little") + os.urandom(_KEY_BYTES), 0)
        return cls(descriptor)

    @property
    def address_key(self) -> bytes:
        """The secret with which addresses are hashed in this service."""
        return self._map[8 : 8 + _KEY_BYTES]

    def addresses(self, slot: int, row: int) -> AddressTable:
        """Return the table of client addresses of one row."""
        start = _TABLES + (slot * ROWS + row) * ITEMS
        return AddressTable(self._items[start : start + ITEMS])

    def service(self, name: str) -> int:
        """Return one of SERVICE_NAMES."""
        return self._items[_SERVICE + SERVICE_NAMES.index(name)]

    def set_service(self, name: str, value: int) -> None:
        """Store one of SERVICE_NAMES; the supervisor does."""
        self._items[_SERVICE + SERVICE_NAMES.index(name)] = value

    def slot(self, slot: int, name: str) -> int:
        """Return one of SLOT_NAMES."""
        return self._items[_SLOT_AREA + slot * _SLOT_WIDTH + SLOT_NAMES.index(name)]

    def set_slot(self, slot: int, name: str, value: int) -> None:
        """Store one of SLOT_NAMES; the supervisor does."""
        self._items[_SLOT_AREA + slot * _SLOT_WIDTH + SLOT_NAMES.index(name)] = value

    def row(self, slot: int, row: int) -> Row:
        """Return the row to write; only its owner may ask for it."""
        start = _start(slot, row)
        return Row(self._items[start : start + _WIDTH])

    def read(self, slot: int, row: int, name: str) -> int:
        """Return one value of one row."""
        return self._items[_start(slot, row) + _INDEX[name]]

    def total(self, name: str, slots: int) -> int:
        """Return the sum of one counter or gauge over the first ``slots`` slots."""
        first = _HEADER + _INDEX[name]
        return sum(self._items[first : first + slots * ROWS * _WIDTH : _WIDTH])

    def zero_gauges(self, slot: int, row: int) -> None:
        """Forget what a dead worker held open; its totals stay."""
        start = _start(slot, row)
        for name in ("pid", "beat_at", "lag_us", *GAUGES, *_HANDLER_NAMES[:HANDLERS]):
            self._items[start + _INDEX[name]] = 0
        table = _TABLES + (slot * ROWS + row) * ITEMS
        self._items[table : table + ITEMS] = memoryview(bytes(8 * ITEMS)).cast("Q")

    def close(self) -> None:
        """Unmap; rows handed out must not be used any more."""
        self._items.release()
        self._map.close()
        os.close(self.descriptor)


class Row:
    """One worker's row: it continues the totals that it finds there."""

    def __init__(self, items: memoryview) -> None:
        self._items = items
        self._totals = tuple(items[_INDEX[name]] for name in TOTALS)

    def release(self) -> None:
        """Let go of the memory; the row is not used any more."""
        self._items.release()

    def set(self, name: str, value: int) -> None:
        """Store one of STATE_NAMES."""
        self._items[_INDEX[name]] = value

    def add(self, name: str, change: int) -> None:
        """Change one value that is not among the counters."""
        self._items[_INDEX[name]] += change

    def publish(self, counters: Counters) -> None:
        """Store all counters, totals on top of what the row held before."""
        items = self._items
        index = _FIRST_COUNTER
        for name, base in zip(TOTALS, self._totals, strict=True):
            items[index] = base + getattr(counters, name)
            index += 1
        for name in GAUGES:
            items[index] = getattr(counters, name)
            index += 1


def _start(slot: int, row: int) -> int:
    if not (0 <= slot < SLOTS and 0 <= row < ROWS):
        raise IndexError(f"the scoreboard has no slot {slot} row {row}")
    return _HEADER + (slot * ROWS + row) * _WIDTH

"""The scoreboard: shared memory with the counters and states of workers, slots and service.

Rules. The supervisor creates it before the first worker. A slot has two rows, one for each worker that it
may have at a time; a row has one writer at a time, and readers never write. Every value is one 64-bit
item stored through ``memoryview.cast("Q")``: readers never see such a store half done, as they may see a
``struct`` write. A new worker continues the totals of its row; the supervisor zeroes the gauges of a dead
worker, so sums over the rows of a slot never fall. The supervisor's values for a slot (SLOT_NAMES) are
separate from the rows. Times are milliseconds of the system's monotonic clock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.scoreboard import broker, handlers, histograms, service
from mpchat.scoreboard.counters import GAUGES, LIMITS, TOTALS, TRAFFIC, Counters
from mpchat.scoreboard.handlers import PLACES, Directory
from mpchat.scoreboard.hashed import ITEMS, HashedCounts
from mpchat.scoreboard.histograms import Histograms
from mpchat.scoreboard.seconds import count_in, pack
from mpchat.scoreboard.tickets import ITEMS as TICKET_ITEMS
from mpchat.scoreboard.tickets import UsedTickets

MAGIC = 0x6D70_6368_6174_000E
"""The letters mpchat and the version of this layout."""
SLOTS = 256
ROWS = 2

_HEADER = 64
"""Items before the rows: magic, key, and the supervisor's numbers for the service"""
SLOT_NAMES = (
    "restarts",  # workers started after the first
    "wanted",  # 0 once the pool has been scaled down below this slot
    "helper",  # the slot, counted from 1, whose worker also accepts for this one; 0 for none
    "state_0",
    "pid_0",
    "since_0",
    "state_1",
    "pid_1",
    "since_1",
)
"""The supervisor's values for a slot, and for the worker of each row."""
WORKER_STATES = ("none", "starting", "ready", "retiring", "stopping", "stuck")
"""Meaning of state_0 and state_1, by number."""
STATE_NAMES = (
    "pid",
    "compiled",  # 1 if its hot path is compiled
    "heartbeat",  # beats of its loop
    "beat_at",  # time of the last beat
    "accepting",  # 1 while it takes connections for its slot
    "lag_us",  # longest delay of the loop within the last second, microseconds
    "generation",
    "admitted",  # WebSocket connections that are open or whose handshake was accepted
    "messages_in_second",  # see seconds
    "counts_users",  # 1 once it has counted connections of users
    "congestion_state",  # its number, counted from 1; 0 without congestion control
    "congestion_limit",  # requests per second that are taken; 0: any number
    "congestion_enforced",  # 1 if limits are enforced
    "congestion_activated",  # 1 while a limit is below so many times the load
    "congestion_custom_status",  # 1 while refusals have the status of a new limit
    "overloaded_at",  # time of the last second of overload under pressure
)
"""The values of a row in addition to the counters."""
_ZEROED = (
    "pid",
    "beat_at",
    "accepting",
    "lag_us",
    "admitted",
    "congestion_state",
    "congestion_limit",
    "congestion_enforced",
    "congestion_activated",
    "congestion_custom_status",
    "overloaded_at",
)
"""The values of a row that end with its worker"""
HANDLERS = 256
"""Handlers that a service may have at a time; each has its own counters."""
NAMES = STATE_NAMES + TOTALS + GAUGES + LIMITS
_WIDTH = 96
_INDEX = {name: index for index, name in enumerate(NAMES)}
_RARE = tuple(name for name in TOTALS if name not in TRAFFIC)
_RARE_OF, _GAUGES_OF = attrgetter(*_RARE), attrgetter(*GAUGES)
_GAUGES = tuple(_INDEX[name] for name in GAUGES)
_IN_SECOND = _INDEX["messages_in_second"]
_OTHER_CODE = handlers.INDEX[handlers.OTHER]
_TRAFFIC_AT = handlers.INDEX[TRAFFIC[0]]
_SLOT_WIDTH = 16
_SLOT_AREA = _HEADER + SLOTS * ROWS * _WIDTH
_HANDLER_AREA = _SLOT_AREA + SLOTS * _SLOT_WIDTH
_HANDLER_WIDTH = 2 * PLACES
_TABLES = _HANDLER_AREA + SLOTS * ROWS * _HANDLER_WIDTH
_USERS = _TABLES + SLOTS * ROWS * ITEMS
_TICKETS = _USERS + SLOTS * ROWS * ITEMS
_DIRECTORY = _TICKETS + TICKET_ITEMS
_COUNTS = _DIRECTORY + handlers.DIRECTORY_ITEMS
_COUNTS_WIDTH = PLACES * handlers.WIDTH
_HISTOGRAMS = _COUNTS + SLOTS * ROWS * _COUNTS_WIDTH
_BROKER = _HISTOGRAMS + SLOTS * ROWS * histograms.WIDTH
_BROKER_INDEX = {name: _BROKER + index for index, name in enumerate(broker.NAMES)}
_BROKER_STAYS = frozenset((*broker.SUPERVISORS, *broker.COUNTERS))
_SIZE = 8 * (_BROKER + len(broker.NAMES))
"""Bytes, most of which nobody ever touches, so that they take no memory."""
_KEY_BYTES = 32
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_SERVICE_INDEX = {
    name: index for index, name in enumerate(service.NAMES, start=1 + _KEY_BYTES // 8)
}


class Scoreboard:
    """The mapped memory; the same class for the supervisor, workers and readers."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = system.mmap(descriptor, _SIZE)
        self._items = memoryview(self._map).cast("Q")
        if self._items[0] != MAGIC:
            raise ValueError("this is not a scoreboard of this version of mpchat")

    @classmethod
    def create(cls) -> Scoreboard:
        """Make an empty scoreboard; children get its descriptor.

        Raises:
            OSError: The system refuses the descriptor or the memory.
        """
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        descriptor = system.memfd_create("mpchat-scoreboard", flags)
        try:
            system.ftruncate(descriptor, _SIZE)
            # If a process could shrink it, all others would die of SIGBUS at their next access.
            system.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            system.pwrite(descriptor, MAGIC.to_bytes(8, "little") + os.urandom(_KEY_BYTES), 0)
            return cls(descriptor)
        except BaseException:
            fds.close(descriptor)
            raise

    @property
    def hash_key(self) -> bytes:
        """The secret with which addresses and users are hashed in this service."""
        return self._map[8 : 8 + _KEY_BYTES]

    def addresses(self, slot: int, row: int) -> HashedCounts:
        """Return the table of client addresses of one row."""
        start = _TABLES + (slot * ROWS + row) * ITEMS
        return HashedCounts(self._items[start : start + ITEMS])

    def users(self, slot: int, row: int) -> HashedCounts:
        """Return the table of users of one row."""
        start = _USERS + (slot * ROWS + row) * ITEMS
        return HashedCounts(self._items[start : start + ITEMS])

    def used_tickets(self) -> UsedTickets:
        """Return the table of tickets that were used."""
        items = self._items[_TICKETS : _TICKETS + TICKET_ITEMS]
        return UsedTickets(items, self.descriptor, self.hash_key)

    def service(self, name: str) -> int:
        """Return one of the supervisor's numbers, see ``service``."""
        return self._items[_SERVICE_INDEX[name]]

    def set_service(self, name: str, value: int) -> None:
        """Store one of the supervisor's numbers; only for its owner."""
        self._items[_SERVICE_INDEX[name]] = value

    def count_service(self, name: str) -> None:
        """Add one to a counter of the supervisor's; only for the supervisor."""
        self._items[_SERVICE_INDEX[name]] += 1

    def slot(self, slot: int, name: str) -> int:
        """Return one of SLOT_NAMES."""
        return self._items[_SLOT_AREA + slot * _SLOT_WIDTH + SLOT_NAMES.index(name)]

    def slot_column(self, name: str, slots: int) -> list[int]:
        """Return one of SLOT_NAMES of each of the first ``slots`` slots."""
        first = _SLOT_AREA + SLOT_NAMES.index(name)
        return self._items[first : first + slots * _SLOT_WIDTH : _SLOT_WIDTH].tolist()

    def set_slot(self, slot: int, name: str, value: int) -> None:
        """Store one of SLOT_NAMES; only for the supervisor."""
        self._items[_SLOT_AREA + slot * _SLOT_WIDTH + SLOT_NAMES.index(name)] = value

    def broker(self, name: str) -> int:
        """Return one of the broker's numbers, see ``broker``."""
        return self._items[_BROKER_INDEX[name]]

    def set_broker(self, name: str, value: int) -> None:
        """Store one of the broker's numbers; only for the writer of that value."""
        self._items[_BROKER_INDEX[name]] = value

    def zero_broker(self) -> None:
        """Zero what a dead broker has stored; its counters stay, for the next one to continue."""
        for name, index in _BROKER_INDEX.items():
            if name not in _BROKER_STAYS:
                self._items[index] = 0

    def row(self, slot: int, row: int, wall_clock: Callable[[], float] = time.time) -> Row:
        """Return the row for writing; only its owner may ask for it.

        ``wall_clock`` returns seconds since 1970, the same in all workers.
        """
        start = _start(slot, row)
        of_handlers = _HANDLER_AREA + (slot * ROWS + row) * _HANDLER_WIDTH
        counts = _COUNTS + (slot * ROWS + row) * _COUNTS_WIDTH
        return Row(
            self._items[start : start + _WIDTH],
            self._items[of_handlers : of_handlers + PLACES],
            self._items[of_handlers + PLACES : of_handlers + _HANDLER_WIDTH],
            self._items[counts : counts + _COUNTS_WIDTH],
            wall_clock,
        )

    def histograms(self, slot: int, row: int) -> Histograms:
        """Return what one row has distributed; only its owner may write."""
        start = _HISTOGRAMS + (slot * ROWS + row) * histograms.WIDTH
        return Histograms(self._items[start : start + histograms.WIDTH])

    def distributed(self, slots: int) -> list[int]:
        """Return the items of all histograms, in the order of their table, summed over all rows."""
        return self._sums(_HISTOGRAMS, histograms.WIDTH, histograms.WIDTH, slots)

    def directory(self) -> Directory:
        """Return the names of the service's handlers."""
        items = self._items[_DIRECTORY : _DIRECTORY + handlers.DIRECTORY_ITEMS]
        return Directory(items, self.descriptor)

    def handler_counts(self, handler: int, slots: int) -> list[int]:
        """Return what was counted of a handler over the first ``slots`` slots, in the order of NAMES."""
        first = _COUNTS + handler * handlers.WIDTH
        return self._sums(first, len(handlers.NAMES), _COUNTS_WIDTH, slots)

    def read(self, slot: int, row: int, name: str) -> int:
        """Return one value of one row."""
        return self._items[_start(slot, row) + _INDEX[name]]

    def column(self, name: str, slots: int) -> list[int]:
        """Return one value of all rows of the first ``slots`` slots, slot by slot."""
        first = _HEADER + _INDEX[name]
        return self._items[first : first + slots * ROWS * _WIDTH : _WIDTH].tolist()

    def total(self, name: str, slots: int) -> int:
        """Return the sum of one counter or gauge over the first ``slots`` slots."""
        first = _HEADER + _INDEX[name]
        return sum(self._items[first : first + slots * ROWS * _WIDTH : _WIDTH])

    def in_second(self, name: str, slots: int, second: int) -> int:
        """Return the sum of an item of ``seconds`` over the first ``slots`` slots."""
        first = _HEADER + _INDEX[name]
        items = self._items[first : first + slots * ROWS * _WIDTH : _WIDTH]
        return sum(count_in(item, second) for item in items)

    def handler_connections(self, handler: int, slots: int) -> int:
        """Return a handler's number of connections, including accepted handshakes."""
        first = _HANDLER_AREA + handler
        return sum(self._items[first : first + slots * ROWS * _HANDLER_WIDTH : _HANDLER_WIDTH])

    def handler_handshakes(self, handler: int, slots: int, second: int) -> int:
        """Return the number of a handler's accepted handshakes within that second."""
        first = _HANDLER_AREA + PLACES + handler
        items = self._items[first : first + slots * ROWS * _HANDLER_WIDTH : _HANDLER_WIDTH]
        return sum(count_in(item, second) for item in items)

    def ready_pids(self) -> set[int]:
        """Return the processes that serve clients."""
        ready = WORKER_STATES.index("ready")
        return {
            self.slot(slot, f"pid_{row}")
            for slot in range(self.service("slots"))
            for row in range(ROWS)
            if self.slot(slot, f"state_{row}") == ready
        }

    def zero_gauges(self, slot: int, row: int) -> None:
        """Zero the gauges of a dead worker; its totals stay, and what it had open counts as closed."""
        start = _start(slot, row)
        for gauge, total in (("sockets", "left"), ("connections", "closed")):
            self._items[start + _INDEX[total]] += self._items[start + _INDEX[gauge]]
        for name in (*_ZEROED, *GAUGES):
            self._items[start + _INDEX[name]] = 0
        self._zero(_HANDLER_AREA + (slot * ROWS + row) * _HANDLER_WIDTH, PLACES)
        self._zero(_TABLES + (slot * ROWS + row) * ITEMS, ITEMS)
        if self._items[start + _INDEX["counts_users"]]:
            self._items[start + _INDEX["counts_users"]] = 0
            self._zero(_USERS + (slot * ROWS + row) * ITEMS, ITEMS)

    def _sums(self, first: int, count: int, width: int, slots: int) -> list[int]:
        """Return the sum over rows of each of some items; a row has so many items of their kind."""
        past = slots * ROWS * width
        return [
            sum(self._items[start : start + past : width]) for start in range(first, first + count)
        ]

    def _zero(self, start: int, count: int) -> None:
        self._items[start : start + count] = memoryview(bytes(8 * count)).cast("Q")

    def close(self) -> None:
        """Unmap; rows handed out must no longer be used."""
        self._items.release()
        self._map.close()
        fds.close(self.descriptor)


class Row:
    """One worker's row; it continues the totals of the row's earlier workers."""

    def __init__(
        self,
        items: memoryview,
        connections: memoryview,
        handshakes: memoryview,
        counts: memoryview,
        wall_clock: Callable[[], float],
    ) -> None:
        self._items = items
        self._connections = connections
        self._handshakes = handshakes
        self._counts = counts
        self._of_handlers: dict[str, tuple[int, list[int]]] = {}
        """By name: the place in the counts, and the totals of traffic so far"""
        self._wall_clock = wall_clock
        self._rare = self._continued(_RARE)
        self._traffic = self._continued(TRAFFIC)
        self._rare_shown: tuple[int | None, ...] = (None,) * len(_RARE)
        self._traffic_shown: dict[str, tuple[int, int, int, int]] = {}
        """By handler"""
        self._second = 0
        self._before_second = 0
        self._received = 0

    def release(self) -> None:
        """Release the memory; the row must no longer be used."""
        for items in (self._items, self._connections, self._handshakes, self._counts):
            items.release()

    def set(self, name: str, value: int) -> None:
        """Store one of STATE_NAMES, or a gauge that others must see before the turn ends."""
        self._items[_INDEX[name]] = value

    def count_connection(self, handler: int, change: int) -> None:
        """Count a connection of a handler in (1) or out (-1)."""
        self._items[_INDEX["admitted"]] += change
        self._connections[handler] += change

    def count_request(self, handler: int, change: int) -> None:
        """Count a request to an HTTP handler in (1) or out (-1)."""
        self._connections[handler] += change

    def count_handshake(self, handler: int, second: int, change: int) -> None:
        """Count a handshake or request of a handler within this second, or take it back (-1)."""
        count = count_in(self._handshakes[handler], second)
        self._handshakes[handler] = pack(second, max(0, count + change))

    def count_limit(self, name: str) -> None:
        """Count a refusal or an end by one of LIMITS."""
        self._items[_INDEX[name]] += 1

    def count_of_handler(self, handler: int, name: str) -> None:
        """Count what is rare, one of ``handlers.COUNTED``."""
        self._counts[handler * handlers.WIDTH + handlers.INDEX[name]] += 1

    def count_answer(self, handler: int, status: int) -> None:
        """Count an answer by its status code."""
        index = handlers.INDEX.get(status, _OTHER_CODE)
        self._counts[handler * handlers.WIDTH + index] += 1

    def continue_traffic(self, numbers: Mapping[str, int]) -> None:
        """Publish the traffic of handlers, by their names and numbers, from now on."""
        for name, number in numbers.items():
            start = number * handlers.WIDTH + _TRAFFIC_AT
            before = self._counts[start : start + len(TRAFFIC)].tolist()
            self._of_handlers[name] = start, before
            self._traffic_shown.pop(name, None)

    def publish(self, counters: Counters) -> None:
        """Store all counters, totals on top of those of earlier workers."""
        items = self._items
        rare = _RARE_OF(counters)
        for (index, before), number, last in zip(self._rare, rare, self._rare_shown, strict=True):
            # Of more than a dozen few change in a turn, and a store costs several comparisons.
            if number != last:
                items[index] = before + number
        self._rare_shown = rare
        for index, number in zip(_GAUGES, _GAUGES_OF(counters), strict=True):
            items[index] = number
        self.publish_traffic(counters)

    def publish_traffic(self, counters: Counters) -> None:
        """Store only the totals that change with every message."""
        shown = self._traffic_shown
        has_changed = False
        for handler, traffic in counters.traffic.items():
            numbers = (
                traffic.messages_received,
                traffic.messages_sent,
                traffic.bytes_received,
                traffic.bytes_sent,
            )
            if shown.get(handler) != numbers:
                shown[handler] = numbers
                has_changed = True
                self._store_traffic(handler, numbers)
        received = self._received
        items = self._items
        if has_changed:
            totals = [sum(column) for column in zip(*shown.values(), strict=True)]
            for (index, before), number in zip(self._traffic, totals, strict=True):
                items[index] = before + number
            received = totals[0]
        second = int(self._wall_clock())
        if second != self._second:
            self._second, self._before_second = second, self._received
        self._received = received
        items[_IN_SECOND] = pack(second, received - self._before_second)

    def _store_traffic(self, handler: str, numbers: tuple[int, int, int, int]) -> None:
        if (place := self._of_handlers.get(handler)) is not None:
            start, before = place
            for index, (so_far, number) in enumerate(zip(before, numbers, strict=True), start):
                self._counts[index] = so_far + number

    def _continued(self, names: Iterable[str]) -> list[tuple[int, int]]:
        """Return index and value so far of these totals."""
        return [(_INDEX[name], self._items[_INDEX[name]]) for name in names]


def _start(slot: int, row: int) -> int:
    if not (0 <= slot < SLOTS and 0 <= row < ROWS):
        raise IndexError(f"the scoreboard has no slot {slot} row {row}")
    return _HEADER + (slot * ROWS + row) * _WIDTH

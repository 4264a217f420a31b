"""Who is let in: limits of the listener, of the service and of each handler.

Rules. A limit counts the whole service: every worker shows its part in the scoreboard, and whoever asks
sums up. Handshakes over a limit get 503. A rate is counted in seconds of the system's clock, the same in
all workers, so a limit of ten a second means ten in each of them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import LIMITS
from mpchat.ipc.addresses import AddressTable, hash_address
from mpchat.ipc.scoreboard import HANDLERS, ROWS, Row, Scoreboard


@dataclass
class ServiceBoard:
    """The scoreboard as one worker uses it: its own row, and the sums over all slots."""

    scoreboard: Scoreboard
    row: Row
    own_addresses: AddressTable
    slots: int
    _tables: list[AddressTable] = field(init=False)

    def __post_init__(self) -> None:
        self._tables = [
            self.scoreboard.addresses(slot, row)
            for slot in range(self.slots)
            for row in range(ROWS)
        ]

    def total(self, name: str) -> int:
        """Return the sum of a counter or gauge over the service."""
        return self.scoreboard.total(name, self.slots)

    def of_address(self, hashed: int) -> int:
        """Return how many connections an address has."""
        return sum(table.count(hashed) for table in self._tables)


class RateWindow:
    """How far a total has come within the present second."""

    def __init__(self, total: Callable[[], int], clock: Callable[[], float] = time.time) -> None:
        self._total = total
        self._clock = clock
        self._second = 0
        self._base = 0

    def used(self) -> int:
        """Return the increase since this second began, as far as anybody asked."""
        total = self._total()
        second = int(self._clock())
        if second != self._second:
            self._second, self._base = second, total
        return total - self._base


class Admission:
    """Decides about sockets and handshakes, and counts those that were let in."""

    def __init__(
        self,
        board: ServiceBoard,
        handlers: Sequence[HandlerBase],
        max_sockets: int,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._board = board
        self._max_sockets = max_sockets
        self._snapshot = snapshot
        self._key = board.scoreboard.address_key
        self._indexes = {handler.name: index for index, handler in enumerate(handlers[:HANDLERS])}
        self._messages = RateWindow(lambda: board.total("messages_received"))
        self._handshakes = [
            RateWindow(lambda name=f"handler_handshakes_{index}": board.total(name))  # type: ignore[misc]
            for index in range(len(self._indexes))
        ]

    def refuses_socket(self) -> bool:
        """Whether the service has as many sockets as its listener allows."""
        return self._board.total("sockets") >= self._max_sockets

    def sample(self) -> None:
        """Note where the rates stand; called on every heartbeat."""
        self._messages.used()
        for window in self._handshakes:
            window.used()

    def refusal(self, handler: HandlerBase, address: str | None) -> str | None:
        """Return why a handshake is turned away, or None if it is not."""
        board, limits = self._board, self._snapshot()[LIMITS]
        if _reached(limits.max_connections, lambda: board.total("connections")):
            return "too many connections to the service"
        if address is not None and _reached(
            limits.max_connections_per_address,
            lambda: board.of_address(hash_address(address, self._key)),
        ):
            return "too many connections from this address"
        if _reached(limits.max_messages_per_second, self._messages.used):
            return "too many messages per second"
        index = self._indexes[handler.name]
        options = handler.options
        if _reached(
            options.max_requests_in_flight, lambda: board.total(f"handler_connections_{index}")
        ):
            return "too many connections to this handler"
        if _reached(options.max_requests_per_second, self._handshakes[index].used):
            return "too many handshakes per second"
        return None

    def opened(self, handler: HandlerBase, address: str | None) -> None:
        """Count a connection that was let in."""
        self._count(handler, address, 1)
        self._board.row.add(f"handler_handshakes_{self._indexes[handler.name]}", 1)

    def closed(self, handler: HandlerBase, address: str | None) -> None:
        """Count a connection that has ended."""
        self._count(handler, address, -1)

    def _count(self, handler: HandlerBase, address: str | None, change: int) -> None:
        self._board.row.add(f"handler_connections_{self._indexes[handler.name]}", change)
        if address is not None:
            self._board.own_addresses.add(hash_address(address, self._key), change)


def _reached(limit: int | None, used: Callable[[], int]) -> bool:
    return limit is not None and used() >= limit

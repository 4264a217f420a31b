"""The scoreboard as one worker's server uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mpchat.scoreboard.handlers import Served
from mpchat.scoreboard.hashed import HashedCounts
from mpchat.scoreboard.scoreboard import ROWS, Row, Scoreboard


@dataclass
class ServiceBoard:
    """The worker's own row, and the sums over all slots."""

    scoreboard: Scoreboard
    row: Row
    own_addresses: HashedCounts
    own_users: HashedCounts
    _addresses: list[HashedCounts] = field(default_factory=list)
    _users: list[HashedCounts] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """Number of slots, including those scaled away; it only grows."""
        return self.scoreboard.service("slots")

    def number(self, handlers: Sequence[Served]) -> list[int]:
        """Return the numbers of this worker's handlers, and count their traffic from now on.

        Raises:
            OSError: The system refuses a lock.
            RuntimeError: The service has had too many handlers.
        """
        directory = self.scoreboard.directory()
        try:
            numbers = directory.numbers(handlers)
        finally:
            directory.release()
        names = (handler.name for handler in handlers)
        self.row.continue_traffic(dict(zip(names, numbers, strict=True)))
        return numbers

    def total(self, name: str) -> int:
        """Return the sum of one counter or gauge over all slots."""
        return self.scoreboard.total(name, self.slots)

    def messages_in(self, second: int) -> int:
        """Return the messages that the service has received within that second."""
        return self.scoreboard.in_second("messages_in_second", self.slots, second)

    def handler_connections(self, handler: int) -> int:
        """Return a handler's number of connections, including accepted handshakes."""
        return self.scoreboard.handler_connections(handler, self.slots)

    def handler_handshakes(self, handler: int, second: int) -> int:
        """Return the number of a handler's accepted handshakes within that second."""
        return self.scoreboard.handler_handshakes(handler, self.slots, second)

    def connections_of(self, hashed: int) -> int:
        """Return the number of connections of an address."""
        return self._count(self._addresses, self.scoreboard.addresses, hashed)

    def connections_of_user(self, hashed: int) -> int:
        """Return the number of connections of a user."""
        return self._count(self._users, self.scoreboard.users, hashed)

    def count_user(self, hashed: int, change: int) -> None:
        """Count one connection of a user more (1) or fewer (-1)."""
        self.row.set("counts_users", 1)
        self.own_users.add(hashed, change)

    def _count(
        self,
        tables: list[HashedCounts],
        table_of: Callable[[int, int], HashedCounts],
        hashed: int,
    ) -> int:
        for slot in range(len(tables) // ROWS, self.slots):
            tables += [table_of(slot, row) for row in range(ROWS)]
        return sum(table.count(hashed) for table in tables)

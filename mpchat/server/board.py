"""The scoreboard as one worker's server uses it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mpchat.scoreboard.addresses import AddressTable
from mpchat.scoreboard.scoreboard import ROWS, Row, Scoreboard


@dataclass
class ServiceBoard:
    """The worker's own row, and the sums over all slots."""

    scoreboard: Scoreboard
    row: Row
    own_addresses: AddressTable
    _tables: list[AddressTable] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """Number of slots, including those scaled away; it only grows."""
        return self.scoreboard.service("slots")

    def connections_of(self, hashed: int) -> int:
        """Return the number of connections of an address."""
        for slot in range(len(self._tables) // ROWS, self.slots):
            self._tables += [self.scoreboard.addresses(slot, row) for row in range(ROWS)]
        return sum(table.count(hashed) for table in self._tables)

"""The loads: rooms whose publishers are on one host, and whose other members are on the other."""

from __future__ import annotations

from dataclasses import dataclass

ROOMS = 100


@dataclass(frozen=True)
class Row:
    """A load.

    Attributes:
        name: As it is printed.
        rooms: Each with one who publishes and one who listens.
        in_flight: Messages of a room that its listener may lack.
        rate: Messages that are offered in a second, in all rooms together; 0: each when the one before
            it has come.
    """

    name: str
    rooms: int
    in_flight: int
    rate: int = 0

    def arguments(self) -> list[str]:
        """Return the client's."""
        words = ["--rooms", str(self.rooms), "--in-flight", str(self.in_flight)]
        return words + (["--rate", str(self.rate)] if self.rate else [])


ROWS = (
    Row("1 room, 1 in flight", 1, 1),
    Row("1 room, 16 in flight", 1, 16),
    *(Row(f"{ROOMS} rooms, {rate:,} a second", ROOMS, 16, rate) for rate in (500, 2_000, 20_000)),
)
MANY = (1_000, 10_000)
"""Rooms of which a broker is killed"""

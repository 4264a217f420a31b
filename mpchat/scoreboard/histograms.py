"""The distributions that a service publishes: one table of name, unit, bounds and meaning.

Rules. As the counters they have one writer for each row, continue over a row's workers, and only grow.
Times are kept in microseconds and published in seconds. What is rare is counted each time; of the
messages that handlers answer one in sixteen is timed, since a look at the clock costs more than all that
is counted of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mpchat.scoreboard.histogram import Histogram

MICROSECONDS = "microseconds"
"""The unit of times, which are published in seconds"""
_MILLISECOND, _SECOND = 1_000, 1_000_000


@dataclass(frozen=True)
class Distributed:
    """A published distribution."""

    name: str
    unit: str
    """MICROSECONDS or bytes"""
    bounds: tuple[int, ...]
    """Of the ranges, in that unit"""
    help: str
    """Its meaning, for operators"""


def _times(*milliseconds: float) -> tuple[int, ...]:
    return tuple(round(_MILLISECOND * bound) for bound in milliseconds)


HANDLING = Distributed(
    "message.handling",
    MICROSECONDS,
    _times(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000),
    "From the read that brought a message, until its handler asks for the next one or ends; of one "
    "message in sixteen",
)
LAG = Distributed(
    "loop.lag",
    MICROSECONDS,
    _times(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000),
    "How late the loop came to a timer of four times a second",
)
HANDSHAKE = Distributed(
    "handshake",
    MICROSECONDS,
    _times(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000),
    "From the first byte of a handshake's request to its answer 101",
)
LIFE = Distributed(
    "connection.life",
    MICROSECONDS,
    tuple(
        round(_SECOND * bound)
        for bound in (0.1, 1, 10, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 604_800)
    ),
    "Life of a WebSocket connection, from its answer 101 until it and its handler have ended; not of "
    "those that died with their worker",
)
SIZE = Distributed(
    "message.size",
    "bytes",
    tuple(4**power for power in range(2, 13)),
    "Payload of a message received, after inflating",
)
DELIVERY = Distributed(
    "room.delivery",
    MICROSECONDS,
    _times(1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000),
    "From the broker's record of a room's message to its write to the last member in a worker, to a "
    "millisecond; of the first of those written together, and of the engine host alone",
)
TABLE = (HANDLING, LAG, HANDSHAKE, LIFE, SIZE, DELIVERY)
WIDTH = sum(len(one.bounds) + 2 for one in TABLE)
"""64-bit items of all of them"""


def places() -> Iterator[tuple[Distributed, int]]:
    """Return each with the place of its items, whose number is that of its bounds and two."""
    start = 0
    for one in TABLE:
        yield one, start
        start += len(one.bounds) + 2


class Histograms:
    """Those of one worker.

    Attributes:
        handling, lag, handshake, life, size, delivery: See the table.
    """

    def __init__(self, items: memoryview) -> None:
        self._items = items
        found = [
            Histogram(one.bounds, items[start : start + len(one.bounds) + 2])
            for one, start in places()
        ]
        self.handling, self.lag, self.handshake, self.life, self.size, self.delivery = found
        self._all = found

    @classmethod
    def apart(cls) -> Histograms:
        """Return some that nobody else reads."""
        return cls(memoryview(bytearray(8 * WIDTH)).cast("Q"))

    def release(self) -> None:
        """Release the memory."""
        for histogram in self._all:
            histogram.release()
        self._items.release()

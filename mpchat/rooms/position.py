"""A place in the order of a room."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_LARGEST = 2**53 - 1
"""The largest integer that JavaScript has."""
_POSITION = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,16}):([0-9]{1,16})")


class Position(NamedTuple):
    """Which message of which history; ``str`` gives ``EPOCH:OFFSET:AT``, ``Position.parse`` reads that.

    Offsets of a room rise, with holes: they can be compared within an epoch, and not counted.

    Attributes:
        epoch: Names the history; offsets of different epochs have nothing to do with each other.
        offset: The place of the message; 0: before all.
        at: When the message was stored, in milliseconds since 1970; 0: there is no message.
    """

    epoch: str
    offset: int
    at: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}:{self.at}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that ``str`` has printed.

        Raises:
            ValueError: The text is something else.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError("expected a position, EPOCH:OFFSET:AT")
        offset, at = int(found[2]), int(found[3])
        if max(offset, at) > _LARGEST:
            raise ValueError("expected a position with numbers below 2^53")
        return cls(found[1], offset, at)

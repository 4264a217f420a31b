"""How many rooms there are, so that there are not too many: those with members, and those with history.

Rules. A room that has both counts once. Where there are many, how many have both is counted again every
few seconds at the most, and only where somebody needs to know, so at the limit the number may be a few
seconds old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mpchat.broker.members import Members
from mpchat.broker.store import Store

_SECONDS: Final = 5.0
_FEW: Final = 1000
"""Rooms that are counted each time."""


class Known:
    """The rooms of the service."""

    def __init__(
        self, members: Members, history: Store, most: int, clock: Callable[[], float]
    ) -> None:
        """``most``: rooms that there may be; ``clock``: monotonic seconds."""
        self._members = members
        self._history = history
        self._most = most
        self._clock = clock
        self._both = 0
        self._counted_at = -_SECONDS

    def __contains__(self, name: bytes) -> bool:
        return name in self._members.rooms or name in self._history.rooms

    def __len__(self) -> int:
        rooms, stored = self._members.rooms, self._history.rooms
        now = self._clock()
        few, many = sorted((rooms.keys(), stored.keys()), key=len)
        if len(few) <= _FEW or now - self._counted_at >= _SECONDS:
            self._both = sum(1 for name in few if name in many)
            self._counted_at = now
        return len(rooms) + len(stored) - min(self._both, len(rooms), len(stored))

    def has_room_for(self, name: bytes) -> bool:
        """Return whether this room is known, or may begin."""
        if len(self._members.rooms) + len(self._history.rooms) < self._most:
            return True
        return name in self or len(self) < self._most

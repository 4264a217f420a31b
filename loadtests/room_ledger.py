"""What the members of rooms have to see: each message exactly once, in one order.

Rules. Pure: no connection, no clock. Acknowledged messages of all users of this process stand in one
ledger. A member must have seen those behind its beginning as soon as it has seen a later one, and all of
them at the end. What other processes publish may come too, once.
"""

from __future__ import annotations

from collections import defaultdict


class WrongDelivery(Exception):
    """A member missed a message, or has seen it twice, or in another order."""


class Ledger:
    """The offsets of acknowledged messages, by room, in the order of their acknowledgements."""

    def __init__(self) -> None:
        self._rooms: defaultdict[str, list[int]] = defaultdict(list)

    def acknowledged(self, room: str, offset: int) -> None:
        """Take note of a message that the service has stored."""
        self._rooms[room].append(offset)

    def newest(self, room: str) -> int:
        """Return the highest offset of a room; 0 without one."""
        return max(self._rooms[room], default=0)

    def offsets(self, room: str) -> list[int]:
        """Return all of a room."""
        return self._rooms[room]


class Member:
    """A member of one room; it stays one while its connections come and go.

    Attributes:
        room: Its room.
        last: The offset of the last message that it saw, or of where it began.
    """

    def __init__(self, ledger: Ledger, room: str, offset: int) -> None:
        self.room = room
        self.last = offset
        self._begun = offset
        self._ledger = ledger
        self._read = 0
        """Acknowledged messages that were compared, or are in ``_late``"""
        self._late: list[int] = []
        """Those that the member has not reached"""
        self._seen: set[int] = set()

    def sees(self, offset: int) -> None:
        """Take note of a message that came.

        Raises:
            WrongDelivery: It came twice, or behind a later one.
        """
        if offset <= self.last:
            again = "again" if offset in self._seen else f"behind {self.last}"
            raise WrongDelivery(f"{self.room}: message {offset} came {again}")
        self.last = offset
        self._seen.add(offset)

    def compare(self) -> int:
        """Compare with the ledger as far as the member has come; return how many messages were there.

        Raises:
            WrongDelivery: One of them did not come.
        """
        known = self._ledger.offsets(self.room)
        wanted = self._late + known[self._read :]
        self._read = len(known)
        self._late = [offset for offset in wanted if offset > self.last]
        due = [offset for offset in wanted if self._begun < offset <= self.last]
        missed = [offset for offset in due if offset not in self._seen]
        if missed:
            raise WrongDelivery(f"{self.room}: message {missed[0]} did not come, {self.last} did")
        return len(due)

"""Hints about who joins and leaves, and when a room has too many members for them.

Rules. A hint goes to workers with members of the room, and only where there is room for it: who wants
to be sure asks. Beyond LARGEST members a room has no presence, since hints would grow with the square
of its members; it has again when the room is smaller by a tenth. A worker that dies with many members
costs a few hints in each turn, while its members are gone at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from mpchat.broker.members import Members, Room, total_of
from mpchat.ipc import asking
from mpchat.ipc.answering import MembersPage, Presence
from mpchat.ipc.rooms import LISTS, MORE, PAGE_BYTES, Change, Listed

LARGEST: Final = 1000
"""Members of a room that has presence, at most."""
_AGAIN: Final = LARGEST * 9 // 10
_HINTS: Final = 200
"""Hints in one turn about members that left together."""


class Hints:
    """Tells pairs of joins and leaves."""

    def __init__(
        self,
        members: Members,
        write: Callable[[], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        """``write`` has what pairs are told written in this turn, ``later`` calls in the next."""
        self._members = members
        self._write = write
        self._later = later
        self._left: deque[tuple[bytes, Sequence[Listed]]] = deque()

    def joined(self, name: bytes, listed: Listed) -> None:
        """Tell of a member with info."""
        self._tell(Change.JOINED, name, listed)

    def left(self, name: bytes, everybody: Sequence[Listed]) -> None:
        """Tell of members with info that have left, and of presence that is on again."""
        was_told = has_presence(self._members, name)
        self.resized(name)
        if not was_told:
            return
        if len(everybody) == 1:
            self._tell(Change.LEFT, name, everybody[0])
        elif everybody:
            if not self._left:
                self._later(self._tell_some)
            self._left.append((name, everybody))

    def resized(self, name: bytes) -> None:
        """Look whether the room has presence, now that it has other members."""
        room = self._members.rooms.get(name)
        if not isinstance(room, Room):
            return
        if room.lists and room.total > LARGEST:
            self._tell(Change.OFF, name, None)
            room.lists = False
        elif not room.lists and room.total <= _AGAIN:
            room.lists = True
            self._tell(Change.ON, name, None)

    def _tell_some(self) -> None:
        most = _HINTS
        while self._left and most > 0:
            name, everybody = self._left.popleft()
            for listed in islice(everybody, most):
                self._tell(Change.LEFT, name, listed)
            if len(everybody) > most:
                self._left.appendleft((name, everybody[most:]))
            most -= len(everybody)
        if self._left:
            self._later(self._tell_some)

    def _tell(self, change: Change, name: bytes, listed: Listed | None) -> None:
        room = self._members.rooms.get(name)
        if room is None or (isinstance(room, Room) and not room.lists):
            return
        frame = Presence(change, name, listed).pack()
        for pair in room.targets:
            pair.hint(frame)
        self._write()


def has_presence(members: Members, name: bytes) -> bool:
    """Return whether members of this room are told who is in it."""
    room = members.rooms.get(name)
    return not isinstance(room, Room) or room.lists


def everybody(members: Members, name: bytes) -> Iterable[Listed]:
    """Return the room's listed members, if it has presence."""
    room = members.rooms.get(name)
    return room.everybody() if isinstance(room, Room) and room.lists else ()


def members_pages(
    members: Members, question: asking.Members, *, presence: bool
) -> Iterator[MembersPage]:
    """Return the answer to MEMBERS, in one page or several; ``presence``: whether it is on at all."""
    name = question.room
    room = members.rooms.get(name)
    total = 0 if room is None else total_of(room)
    flags = LISTS if presence and has_presence(members, name) else 0
    entries: list[Listed] = []
    held = 0
    for listed in everybody(members, name):
        if held > PAGE_BYTES:
            yield MembersPage(question.number, flags | MORE, total, entries)
            entries, held = [], 0
        entries.append(listed)
        held += len(listed.user) + len(listed.info)
    yield MembersPage(question.number, flags, total, entries)

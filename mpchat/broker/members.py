"""Which workers have members in which rooms: how many, and those that are listed.

Rules. A member without info is a number. A room with one such member and nobody else, which most rooms
are where there are many, is an entry of one dict and takes no object: all rooms of that kind that a
pair has share one (Solo). A room without members is not here. What a pair says of its own members is
believed, but never counts for another pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from mpchat.broker.pairs import Pair
from mpchat.ipc.rooms import Listed


class Elsewhere:
    """Another host, whose workers have members: it counts like a pair, and gets no records from here."""


Holder: TypeAlias = Pair | Elsewhere
"""Who has members"""


class Solo:
    """One member without info, of one pair: the same object for all of the pair's rooms like that.

    Attributes:
        targets: The pairs that get the room's records: this one, or none after LOST.
    """

    __slots__ = ("pair", "targets")

    def __init__(self, pair: Holder, *, subscribed: bool) -> None:
        self.pair = pair
        self.targets: tuple[Pair, ...] = (
            (pair,) if subscribed and not isinstance(pair, Elsewhere) else ()
        )


class Room:
    """Any other room.

    Attributes:
        targets: The pairs that get its records.
        counted: Members without info, by pair; each pair with members or a subscription has its entry.
        listed: Members with info, by pair and the worker's number of the member.
        total: All members.
        lists: Presence is on; see ``presence``.
    """

    __slots__ = ("counted", "listed", "lists", "targets", "total")

    def __init__(self) -> None:
        self.targets: tuple[Pair, ...] = ()
        self.counted: dict[Holder, int] = {}
        self.listed: dict[Holder, dict[int, Listed]] = {}
        self.total = 0
        self.lists = True

    def subscribe(self, pair: Holder) -> None:
        self.counted.setdefault(pair, 0)
        if not isinstance(pair, Elsewhere) and pair not in self.targets:
            self.targets = (*self.targets, pair)

    def unsubscribe(self, pair: Holder) -> None:
        self.targets = tuple(other for other in self.targets if other is not pair)

    def everybody(self) -> Iterator[Listed]:
        """Return the listed members of all pairs."""
        for members in self.listed.values():
            yield from members.values()


class Members:
    """The members of all rooms.

    Attributes:
        rooms: The rooms with members, by name.
        total: Memberships in all rooms.
    """

    def __init__(self) -> None:
        self.rooms: dict[bytes, Solo | Room] = {}
        self.total = 0
        self._solos: dict[Holder, tuple[Solo, Solo]] = {}

    def join(self, pair: Holder, name: bytes) -> None:
        """Take a member without info; its pair gets the room's records from now on."""
        self.total += 1
        if name not in self.rooms:
            self.rooms[name] = self._solo(pair)[0]
            return
        room = self._room(name)
        room.subscribe(pair)
        room.counted[pair] += 1
        room.total += 1

    def join_listed(self, pair: Holder, name: bytes, listed: Listed) -> Room:
        """Take a member with info, or another info of a known one; it subscribes nothing."""
        room = self._room(name)
        members = room.listed.setdefault(pair, {})
        if listed.member not in members:
            room.total += 1
            self.total += 1
        members[listed.member] = listed
        room.counted.setdefault(pair, 0)
        return room

    def subscribe(self, pair: Pair, name: bytes) -> None:
        """Let the pair get the room's records from now on."""
        found = self.rooms.get(name)
        if isinstance(found, Solo) and found.pair is pair:
            self.rooms[name] = self._solo(pair)[0]
        else:
            self._room(name).subscribe(pair)

    def unsubscribe(self, pair: Pair, name: bytes) -> None:
        """Send the pair no more records of the room; its members stay."""
        found = self.rooms.get(name)
        if isinstance(found, Room):
            found.unsubscribe(pair)
        elif found is not None and found.pair is pair:
            self.rooms[name] = self._solo(pair)[1]

    def count(self, pair: Holder, name: bytes, counted: int) -> None:
        """Set how many members without info the pair has in the room."""
        if counted == 1:
            found = self.rooms.get(name)
            if found is None:
                self.join(pair, name)
                return
            if isinstance(found, Solo) and found.pair is pair:
                return
        room = self._room(name)
        added = counted - room.counted.get(pair, 0)
        room.counted[pair] = counted
        room.total += added
        self.total += added

    def leave(self, pair: Holder, name: bytes) -> None:
        """Forget a member without info."""
        found = self.rooms.get(name)
        if isinstance(found, Solo):
            if found.pair is pair:
                del self.rooms[name]
                self.total -= 1
        elif found is not None and found.counted.get(pair, 0) > 0:
            found.counted[pair] -= 1
            found.total -= 1
            self.total -= 1
            self._tidy(pair, name, found)

    def settle(self, pair: Holder, name: bytes) -> None:
        """Forget a pair that has no members in the room any more."""
        found = self.rooms.get(name)
        if isinstance(found, Room) and pair in found.counted:
            self._tidy(pair, name, found)

    def leave_listed(self, pair: Holder, name: bytes, member: int) -> Listed | None:
        """Forget a member with info, and return it; None: it was not there."""
        found = self.rooms.get(name)
        if not isinstance(found, Room):
            return None
        listed = found.listed.get(pair, {}).pop(member, None)
        if listed is not None:
            found.total -= 1
            self.total -= 1
            self._tidy(pair, name, found)
        return listed

    def drop(self, pair: Holder, name: bytes) -> list[Listed]:
        """Forget all that a pair has in a room; return its listed members."""
        found = self.rooms.get(name)
        if found is None:
            return []
        if isinstance(found, Solo):
            if found.pair is pair:
                del self.rooms[name]
                self.total -= 1
            return []
        listed = found.listed.pop(pair, {})
        gone = found.counted.pop(pair, 0) + len(listed)
        found.total -= gone
        self.total -= gone
        found.unsubscribe(pair)
        if not found.counted:
            del self.rooms[name]
        return list(listed.values())

    def drop_all(self, pair: Holder) -> list[tuple[bytes, list[Listed]]]:
        """Forget all that a pair has; return its listed members, for each room where others remain."""
        # A pair keeps no list of its rooms: it would take memory for each, and ends are rare.
        left = []
        for name in [name for name, found in self.rooms.items() if _has(found, pair)]:
            listed = self.drop(pair, name)
            if name in self.rooms:
                left.append((name, listed))
        self._solos.pop(pair, None)
        return left

    def unsubscribe_all(self, pair: Pair) -> None:
        """Send a pair no more records; its members stay."""
        for name in list(self.rooms):
            self.unsubscribe(pair, name)

    def close(self, name: bytes) -> tuple[Pair, ...]:
        """Forget all members of a room; return the pairs that it was sent to."""
        found = self.rooms.pop(name, None)
        if found is None:
            return ()
        self.total -= total_of(found)
        return found.targets

    def has(self, pair: Holder, name: bytes) -> bool:
        """Return whether the pair has members in the room, or is subscribed to it."""
        found = self.rooms.get(name)
        return found is not None and _has(found, pair)

    def is_here(self, name: bytes) -> bool:
        """Return whether a worker of this host has members in the room."""
        found = self.rooms.get(name)
        if found is None:
            return False
        holders = (found.pair,) if isinstance(found, Solo) else found.counted
        return any(not isinstance(holder, Elsewhere) for holder in holders)

    def _solo(self, pair: Holder) -> tuple[Solo, Solo]:
        """Return the pair's shared object for a subscribed room, and that for others."""
        solos = self._solos.get(pair)
        if solos is None:
            solos = Solo(pair, subscribed=True), Solo(pair, subscribed=False)
            self._solos[pair] = solos
        return solos

    def _room(self, name: bytes) -> Room:
        """Return the room as an object of its own."""
        found = self.rooms.get(name)
        if isinstance(found, Room):
            return found
        room = self.rooms[name] = Room()
        if found is not None:
            room.counted[found.pair] = room.total = 1
            room.targets = found.targets
        return room

    def _tidy(self, pair: Holder, name: bytes, room: Room) -> None:
        """Forget what nobody needs after a member has left."""
        if room.counted[pair] == 0 and not room.listed.get(pair):
            self.drop(pair, name)
        elif room.total == 1 and room.counted[pair] == 1 and len(room.counted) == 1:
            subscribed, unsubscribed = self._solo(pair)
            self.rooms[name] = subscribed if room.targets else unsubscribed


def total_of(room: Solo | Room) -> int:
    """Return how many members a room has."""
    return room.total if isinstance(room, Room) else 1


def _has(room: Solo | Room, pair: Holder) -> bool:
    return room.pair is pair if isinstance(room, Solo) else pair in room.counted

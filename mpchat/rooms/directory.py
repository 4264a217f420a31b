"""The rooms that connections of this worker are in, by name, and the members that rest.

Rules. Where there are many rooms, most have one member, and are sent little. While nothing is on its way
to such a member, it rests: it stands here in place of its room, whose object is made again when somebody
needs it. Only a room whose records come rests, and of these one knows where they stand: where the stream
of the broker does.
"""

from __future__ import annotations

from mpchat.rooms.member import Member
from mpchat.rooms.position import Position
from mpchat.rooms.subscription import LIVE, Subscription
from mpchat.websocket.broadcast import Hall

_SETTLED = 1000
"""Members that begin to rest in one turn, at most; it takes a millisecond."""


class Directory:
    """The rooms of one worker.

    Attributes:
        mark: Up to here, all rooms whose records come have seen everything.
        marked_at: When what stands there was stored; 0: not known.
    """

    def __init__(self, hall: Hall) -> None:
        self.mark = self.marked_at = 0
        self._hall = hall
        self._rooms: dict[bytes, Subscription | Member] = {}
        """A room, or its only member, which rests"""
        self._awake: set[Subscription] = set()
        """Rooms whose member may rest later"""

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, room: Subscription) -> bool:
        """Return whether this is the room of its name: one that was closed may have begun anew."""
        return self._rooms.get(room.name) is room

    def subscribe(self, name: bytes) -> Subscription:
        """Return the room of this name, in which somebody is about to be a member."""
        found = self._rooms.get(name)
        if found is None:
            found = self._rooms[name] = Subscription(name, self._hall)
        return self.wake(found) if isinstance(found, Member) else found

    def find(self, name: bytes) -> Subscription | None:
        """Return a room that is about to be sent something."""
        found = self._rooms.get(name)
        if isinstance(found, Member):
            found = self.wake(found)
            self._awake.add(found)
        return found

    def all(self) -> list[Subscription]:
        """Return all rooms; nobody rests."""
        found = list(self._rooms.values())
        return [self.wake(one) if isinstance(one, Member) else one for one in found]

    def forget(self, room: Subscription) -> None:
        """It is none any more for who joins now."""
        del self._rooms[room.name]
        self._awake.discard(room)

    def position_of(self, member: Member, epoch: str) -> Position:
        """Return where a member's room stands as far as this worker knows."""
        place = member.place
        if isinstance(place, Subscription):
            return Position(epoch, place.offset, place.at)
        return Position(epoch, self.mark, self._at_of(member))

    def seen(self, offset: int, at: int = 0) -> None:
        """All rooms whose records come have seen everything up to here."""
        if offset > self.mark:
            self.mark, self.marked_at = offset, at

    def advance(self, room: Subscription) -> None:
        """Let a room whose records come stand where all of them do."""
        room.stands_at(self.mark, self.marked_at or room.at)

    def wake(self, member: Member) -> Subscription:
        """Return the room of a member that rests."""
        room = Subscription(member.room_name, self._hall)
        room.stage = LIVE
        room.members = 1
        room.counted = 0 if member.is_listed else 1
        room.offset, room.at = self.mark, self._at_of(member)
        room.add(member)
        member.place = self._rooms[room.name] = room
        return room

    def settle(self, room: Subscription) -> None:
        """Let the room's member rest if it is the only one; later, if something is on its way to it."""
        if room.members != 1 or room.stage is not LIVE or room not in self:
            return
        member = room.first
        if not room.is_quiet or room.offset > self.mark:
            self._awake.add(room)
        elif isinstance(member, Member):
            if room.at:
                member.ensure_extra().at = room.at
            member.place = room.name
            self._rooms[room.name] = member

    def settle_some(self) -> None:
        """Let members rest to whom something was sent."""
        for _ in range(min(len(self._awake), _SETTLED)):
            self.settle(self._awake.pop())

    def _at_of(self, member: Member) -> int:
        """Return the time at which a room stands whose member rests."""
        return self.marked_at or (member.extra.at if member.extra is not None else 0)

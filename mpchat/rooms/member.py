"""A connection's membership of one room: the plain part, without what authors call.

Rules. A member keeps few things, since there may be a hundred thousand; what is rare stands in ``extra``.
A connection tells its member of its end, or, if it is in more than one room, all of them. A member that
is alone in its room, and has nothing on its way to it, rests: the room takes no object meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from mpchat.rooms.errors import Behind, RoomError
from mpchat.rooms.forms import Form
from mpchat.rooms.message import Message
from mpchat.rooms.position import Position
from mpchat.rooms.subscription import Parted, Sent, Subscription
from mpchat.websocket.broadcast import Item, Recipient
from mpchat.websocket.limits import TOO_SLOW
from mpchat.websocket.protocol import WebSocketProtocol


class State(IntEnum):
    """Where a membership is."""

    NEW = 0
    JOINING = 1
    """The broker has not answered"""
    READING = 2
    """It has joined; history comes in pages"""
    MEMBER = 3
    LEFT = 4


NEW, JOINING, READING, MEMBER, LEFT = State


class Inbox:
    """Messages that an author's loop takes, instead of the client.

    Attributes:
        messages: In order.
        held: Their bytes.
        more: Where the history that comes next begins.
    """

    __slots__ = ("_waiter", "held", "messages", "more")

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.held = 0
        self.more = 0
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: Message) -> None:
        """Add a message."""
        self.messages.append(message)
        self.held += len(message.payload)
        self.wake()

    def pop(self) -> Message:
        """Take the oldest one."""
        message = self.messages.popleft()
        self.held -= len(message.payload)
        return message

    def wake(self) -> None:
        """Let the loop that waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until there is a message, or the end.

        Raises:
            RuntimeError: Another loop waits.
        """
        if self._waiter is not None:
            raise RuntimeError("another loop takes the messages of this room")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


_ROUNDED = 1e-6
"""Seconds by which sums of times may be wrong."""


class Allowance:
    """How many messages a connection may publish: so many in a second, and at once after a silence."""

    __slots__ = ("_rate", "_until")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        # Until then, what was published takes its time.
        self._until = 0.0

    def takes(self, now: float) -> bool:
        """Whether one more may be published; if so, it counts."""
        until = max(self._until, now) + 1 / self._rate
        if until > now + 1 + _ROUNDED:
            return False
        self._until = until
        return True


class Extra:
    """What few members have.

    Attributes:
        number: The broker's name for a member with info; 0 without.
        info: What others are told of it, as JSON.
        inbox: In place of the client.
        error: Why it had to leave.
        allowance: What its connection may publish, if that is limited.
        given: The position that it comes back with, until it joins.
        recovered: See Room.
        at: The time of the room's last message, while the member rests.
    """

    __slots__ = ("allowance", "at", "error", "given", "inbox", "info", "number", "recovered")

    def __init__(self) -> None:
        self.number = 0
        self.info: bytes | None = None
        self.inbox: Inbox | None = None
        self.error: RoomError | None = None
        self.allowance: Allowance | None = None
        self.given: Position | None = None
        self.recovered = True
        self.at = 0


class Keeper(Protocol):
    """Who is told of members."""

    def leave(self, member: Member) -> None:
        """A member leaves by itself, or its connection has ended."""

    def forget(self, member: Member) -> None:
        """A member has to leave with all others: the broker knows."""

    def wake(self, member: Member) -> Subscription:
        """Return the room of a member that rests."""


class Member(Recipient):
    """One connection in one room, or an author's loop.

    Attributes:
        keeper: Who is told of it.
        place: The room; before it joins, and while it rests, the room's name.
        state: Where it is.
        extra: What few have.
    """

    __slots__ = ("extra", "keeper", "place", "state")

    def __init__(
        self, keeper: Keeper, name: bytes, form: Form | None, protocol: WebSocketProtocol | None
    ) -> None:
        super().__init__(form, protocol)
        self.keeper = keeper
        self.place: Subscription | bytes = name
        self.state: State = NEW
        self.extra: Extra | None = None

    @property
    def subscription(self) -> Subscription:
        """The room that it has joined, or wants to; a member that rests wakes."""
        place = self.place
        return place if isinstance(place, Subscription) else self.keeper.wake(self)

    @property
    def room_name(self) -> bytes:
        """The room's name as it travels."""
        return self.place if isinstance(self.place, bytes) else self.place.name

    @property
    def recovered(self) -> bool:
        """Whether it gets all that came after the position that it has given; True without one."""
        return self.extra is None or self.extra.recovered

    @property
    def is_listed(self) -> bool:
        """Whether others are told of it."""
        return self.extra is not None and self.extra.info is not None

    def ensure_extra(self) -> Extra:
        """Return what few have, from now on this one, too."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def take(self, items: Sequence[Item]) -> None:
        """Put messages into the inbox."""
        inbox = self.extra.inbox if self.extra is not None else None
        if inbox is None or self.state is LEFT:
            return
        for item in items:
            if isinstance(item, Sent):
                inbox.put(item.message)
        if inbox.held > self.subscription.hall.most:
            self.fall_behind()

    def fall_behind(self) -> None:
        """Messages come faster than the author's loop takes them."""
        if self.protocol is not None:
            self.protocol.exceeds(TOO_SLOW)
        else:
            error = Behind("the messages of the room were not taken")
            self.part(Parted(error, TOO_SLOW.code, is_known=False))

    def part(self, reason: Exception) -> None:
        """Leave, since the room's members have to."""
        assert isinstance(reason, Parted)
        if self.state is LEFT:
            return
        self.ensure_extra().error = reason.error
        protocol = self.protocol
        if reason.is_known:
            self.keeper.forget(self)
        else:
            self.keeper.leave(self)
        if protocol is not None:
            protocol.close(reason.code, str(reason))

    def connection_ended(self) -> None:
        """The connection is over: leave."""
        self.keeper.leave(self)

    def follow(self) -> None:
        """Be told of the connection's end."""
        if self.protocol is not None:
            _tell(self.protocol, [*members_of(self.protocol), self])

    def unfollow(self) -> None:
        """Be told no more."""
        if self.protocol is not None:
            others = [other for other in members_of(self.protocol) if other is not self]
            _tell(self.protocol, others)


class Several:
    """The memberships of a connection that is in more than one room."""

    __slots__ = ("members",)

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    def connection_ended(self) -> None:
        """The connection is over: leave all rooms."""
        for member in self.members:
            member.connection_ended()


def members_of(protocol: WebSocketProtocol) -> list[Member]:
    """Return the memberships of a connection."""
    follower = protocol.follower
    if isinstance(follower, Several):
        return follower.members
    return [follower] if isinstance(follower, Member) else []


def _tell(protocol: WebSocketProtocol, members: list[Member]) -> None:
    """Have these told of the connection's end, and no others."""
    protocol.follower = Several(members) if len(members) > 1 else members[0] if members else None

"""A connection's membership of one room: the plain part, without what authors call.

Rules. A member keeps few things, since there may be a hundred thousand; what is rare stands in ``extra``.
The rooms of a connection are a chain, which begins at the connection and is told of its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import cast

from mpchat.rooms.errors import Behind, RoomError
from mpchat.rooms.forms import Form
from mpchat.rooms.message import Message
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
    """

    __slots__ = ("allowance", "error", "inbox", "info", "number")

    def __init__(self) -> None:
        self.number = 0
        self.info: bytes | None = None
        self.inbox: Inbox | None = None
        self.error: RoomError | None = None
        self.allowance: Allowance | None = None


class Member(Recipient):
    """One connection in one room, or an author's loop.

    Attributes:
        subscription: The room.
        state: Where it is.
        recovered: See Room.
        extra: What few have.
        sibling: The connection's next room.
    """

    __slots__ = ("extra", "recovered", "sibling", "state", "subscription")

    def __init__(
        self, subscription: Subscription, form: Form | None, protocol: WebSocketProtocol | None
    ) -> None:
        super().__init__(form, protocol)
        self.subscription = subscription
        self.state: State = NEW
        self.recovered = True
        self.extra: Extra | None = None
        self.sibling: Member | None = None

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
        keeper = self.subscription.keeper
        if reason.is_known:
            keeper.forget(self)
        else:
            keeper.leave(self)
        if protocol is not None:
            protocol.close(reason.code, str(reason))

    def connection_ended(self) -> None:
        """The connection is over: leave all of its rooms."""
        member: Member | None = self
        while member is not None:
            following = member.sibling
            member.subscription.keeper.leave(member)
            member = following

    def enter_chain(self) -> None:
        """Be told of the connection's end."""
        if self.protocol is not None:
            self.sibling = cast("Member | None", self.protocol.follower)
            self.protocol.follower = self

    def leave_chain(self) -> None:
        """Be told no more."""
        protocol, following = self.protocol, self.sibling
        self.sibling = None
        if protocol is None:
            return
        before = cast("Member | None", protocol.follower)
        if before is self:
            protocol.follower = following
            return
        while before is not None:
            if before.sibling is self:
                before.sibling = following
                return
            before = before.sibling

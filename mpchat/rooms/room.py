"""A room as one of its members sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mpchat.ipc.rooms import LISTS, Since
from mpchat.rooms.errors import Behind, TooManyMessages, TooManyRooms, Unavailable
from mpchat.rooms.forms import Form
from mpchat.rooms.member import LEFT, NEW, READING, Allowance, Inbox, Member, members_of
from mpchat.rooms.message import Message, encode
from mpchat.rooms.position import Position
from mpchat.rooms.publishing import Answer
from mpchat.rooms.questions import Counting, Joining, Reading
from mpchat.rooms.side import Side, user_of
from mpchat.websocket.protocol import WebSocketProtocol


class Members(NamedTuple):
    """Who is in a room.

    Attributes:
        number: How many members it has, in all workers.
        infos: The ``info`` of those who have given one; None if there are more than a thousand members,
            or presence is off.
    """

    number: int
    infos: list[Any] | None


class _Exit:
    """``__aexit__`` of a room: the room itself, which is called.

    While a block runs, Python keeps what it gets for this name. A bound method would be half as large as
    the room.
    """

    def __get__(self, room: Room | None, owner: type[Room]) -> _Exit | Room:
        return self if room is None else room

    def __call__(self, room: Room, *error: object) -> Awaitable[None]:
        """Leave, as AsyncExitStack calls it, which takes it from the class."""
        return room(*error)


class Room(Member):
    """A membership: ``async with rooms.join("a", chat) as room``.

    It ends with the block, or with the connection.

    Attributes:
        recovered: Whether the member gets all that came after the position that it has given; True
            without one.
    """

    __slots__ = ()

    def __init__(
        self,
        side: Side,
        name: bytes,
        protocol: WebSocketProtocol | None,
        given: Position | None,
        info: bytes | None,
        form: Form | None,
    ) -> None:
        super().__init__(side, name, form, protocol)
        if given is not None:
            self.ensure_extra().given = given
        if info is not None:
            self.ensure_extra().info = info
        if form is None:
            self.ensure_extra().inbox = Inbox()

    @property
    def _side(self) -> Side:
        assert isinstance(self.keeper, Side)
        return self.keeper

    @property
    def name(self) -> str:
        """The room's name."""
        return self.room_name.decode()

    @property
    def position(self) -> Position:
        """Where the room stands as far as this worker knows: the last message that it was sent."""
        return self._side.registry.position_of(self)

    async def publish(self, message: Any, *, id: str | None = None, client: str = "") -> Position:
        """Publish a message as this member; return its position once it is stored.

        A message is str, bytes, or any other value that JSON has. ``id`` names it among those of
        ``context.user`` and ``client``, a name that the client keeps when it connects again: published
        again with the same id, it is not stored again, and has its first position.

        Raises:
            Unavailable: The broker has not answered within ``publish-timeout``.
            RoomClosed: The room was closed.
            TooManyRooms: It would be one room more than ``max-rooms``.
            TooManyMessages: The connection may not publish so many in a second.
            TooLarge: It does not fit into the history.
            TypeError, ValueError: It is no such value.
        """
        kind, payload = encode(message)
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.begin(kind, payload, answer, id=id, client=client)
        return await answer

    def begin(
        self,
        kind: int,
        payload: bytes,
        answer: Answer,
        *,
        id: str | None = None,
        client: str = "",
    ) -> None:
        """Publish what ``message.encode`` has returned, or what is known to be the same.

        What is begun first comes first in the room.

        Raises:
            RoomError: As ``publish``, where the broker does not have to be asked.
        """
        if self.extra is not None and self.extra.error is not None:
            raise self.extra.error
        side, protocol = self._side, self.protocol
        if side.options.publish_rate and not self._may_publish():
            side.count_limit("publish-rate")
            raise TooManyMessages("the connection has published more than publish-rate")
        user = user_of(protocol.context.user) if protocol is not None else b""
        room, is_member = self.room_name, self.state is not LEFT
        side.publish(room, kind, payload, user, client, id, answer, as_member=is_member)

    async def members(self) -> Members:
        """Return who is in the room.

        Raises:
            Unavailable: The broker has not answered within ten seconds.
        """
        return await who_is_in(self._side, self.room_name)

    async def __aenter__(self) -> Self:
        """Join.

        Raises:
            Unavailable: The broker has not answered within ten seconds.
            TooManyRooms: There are ``max-rooms``, or the connection is in ``max-rooms-per-connection``.
            TooManyMembers: There are ``max-members``.
            Behind: The history went on faster than it was sent.
            ConnectionClosed: The connection has ended.
        """
        if self.state is not NEW:
            raise RuntimeError("a room is entered once: join again")
        side, protocol = self._side, self.protocol
        user = b""
        if protocol is not None:
            if protocol.is_finished:
                raise protocol.closed_error()
            self._check_connection(protocol)
            user = user_of(protocol.context.user)
        question: Joining | Reading = side.registry.join(self, user, self._take_given())
        try:
            end = await self._answer(question)
            while self.state is READING and self.form is not None:
                if protocol is not None:
                    await protocol.outgoing.wait_writable()
                since = Since(side.registry.epoch, end)
                end = await self._answer(side.registry.read_on(self, since))
        except BaseException:
            side.registry.leave(self)
            raise
        if self.state is LEFT:
            raise self._left_error()
        if self.state is READING and self.extra is not None and self.extra.inbox is not None:
            self.extra.inbox.more = end
        return self

    if TYPE_CHECKING:

        async def __aexit__(self, *_error: object) -> None: ...

    else:
        __aexit__ = _Exit()

    async def __call__(self, *_error: object) -> None:
        """Leave, at the end of the block."""
        self._side.registry.leave(self)

    def __aiter__(self) -> Self:
        """Take the room's messages from now on; they are not sent to the client any more.

        The iteration ends with the membership. It raises RoomClosed if the room was closed, Behind if
        more than ``member-backlog`` bytes were not taken or messages were missed, and ConnectionClosed if
        the connection has ended.
        """
        self.form = None
        extra = self.ensure_extra()
        if extra.inbox is None:
            extra.inbox = Inbox()
        return self

    async def __anext__(self) -> Message:
        extra = self.extra
        if extra is None or extra.inbox is None:
            raise RuntimeError("iterate with `async for message in room`")
        inbox = extra.inbox
        while not inbox.messages:
            if extra.error is not None:
                raise extra.error
            if self.state is LEFT:
                if self.protocol is not None and self.protocol.is_finished:
                    raise self.protocol.closed_error()
                raise StopAsyncIteration
            if self.state is READING:
                registry = self._side.registry
                since = Since(registry.epoch, inbox.more)
                inbox.more = await self._answer(registry.read_on(self, since))
            else:
                await inbox.wait()
        return inbox.pop()

    def _take_given(self) -> Position | None:
        """Return the position that it comes back with, and keep nothing for it."""
        extra = self.extra
        if extra is None:
            return None
        given, extra.given = extra.given, None
        if extra.info is None and extra.inbox is None and extra.allowance is None:
            self.extra = None
        return given

    async def _answer(self, question: Joining | Reading) -> int:
        end: int = await answer_of(question.answer, self._side.limit)
        return end

    def _left_error(self) -> Exception:
        if self.extra is not None and self.extra.error is not None:
            return self.extra.error
        if self.protocol is not None and self.protocol.is_finished:
            return self.protocol.closed_error()
        return Behind("the member has left")

    def _check_connection(self, protocol: WebSocketProtocol) -> None:
        """Check how many rooms the connection is in.

        Raises:
            TooManyRooms: One more would be too many.
            ValueError: It is in this room already.
        """
        others = members_of(protocol)
        if any(other.room_name == self.room_name for other in others):
            raise ValueError(f"the connection is in the room {self.name} already")
        if len(others) >= self._side.options.max_rooms_per_connection:
            self._side.count_limit("max-rooms-per-connection")
            raise TooManyRooms("the connection is in max-rooms-per-connection rooms")

    def _may_publish(self) -> bool:
        """Whether the connection may publish one message more; if so, it counts."""
        extra = self.ensure_extra()
        if extra.allowance is None:
            extra.allowance = self._find_allowance()
        return extra.allowance.takes(self._side.clock())

    def _find_allowance(self) -> Allowance:
        if self.protocol is not None:
            for member in members_of(self.protocol):
                if member.extra is not None and member.extra.allowance is not None:
                    return member.extra.allowance
        return Allowance(self._side.options.publish_rate)


async def answer_of(answer: asyncio.Future[Any], limit: float) -> Any:
    """Return an answer of the broker.

    Raises:
        Unavailable: There is none within the limit, in seconds.
    """
    try:
        async with asyncio.timeout(limit) as timeout:
            return await answer
    except TimeoutError:
        if not timeout.expired():
            raise
        if answer.done() and not answer.cancelled():
            # It came in the very turn in which the time was over.
            return answer.result()
        raise Unavailable("the broker did not answer in time") from None


async def who_is_in(side: Side, room: bytes) -> Members:
    """Return who is in a room.

    Raises:
        Unavailable: The broker has not answered in time.
    """
    question = Counting(room)
    side.registry.ask(question)
    page = await answer_of(question.answer, side.limit)
    if not page.flags & LISTS:
        return Members(page.total, None)
    return Members(page.total, [json.loads(entry.info) for entry in page.entries])

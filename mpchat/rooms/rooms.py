"""The component ``rooms``: what authors publish to and join."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar, NamedTuple

from mpchat.components.component import Components
from mpchat.ipc.answering import Answer
from mpchat.ipc.asking import Hello
from mpchat.ipc.framing import split_frames
from mpchat.ipc.messages import BrokerPair
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import MAX_INFO_BYTES, MORE, RECOVERED, Since
from mpchat.rooms.forms import RAW, Form
from mpchat.rooms.message import Message, dumps, encode
from mpchat.rooms.names import encode_name
from mpchat.rooms.options import RoomsOptions
from mpchat.rooms.position import Position
from mpchat.rooms.publishing import Close
from mpchat.rooms.questions import Asking
from mpchat.rooms.room import Members, Room, answer_of, who_is_in
from mpchat.rooms.side import Side, user_of
from mpchat.rooms.subscription import message_of
from mpchat.websocket.component import ConnectionsComponent
from mpchat.websocket.connection import WebSocketConnection, protocol_of
from mpchat.websocket.shared import Shared


class History(NamedTuple):
    """Messages of a room.

    Attributes:
        recovered: Whether they begin right behind ``since``; True without it.
        more: Whether there are more behind them.
        position: That of the last one of them; without any, where the room stands.
        messages: They, oldest first.
    """

    recovered: bool
    more: bool
    position: Position
    messages: list[Message]


class Rooms(ConnectionsComponent):
    """The rooms of the whole service: ``components.find(Rooms)``.

    All methods can be used in any worker, in handlers of both kinds and in background tasks.
    """

    name = "rooms"
    needs_broker: ClassVar[bool] = True

    class Options(RoomsOptions):
        """Options of rooms."""

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._pairs = components.host.pairs
        self._begun: Side | None = None

    # What the worker does

    def begin(self, shared: Shared) -> None:
        self._begun = side = Side(shared, self.options)
        side.link.on_broken = self._pairs.lost
        self._pairs.follow(self._take)

    def _take(self, message: BrokerPair, end: socket.socket) -> None:
        """Use a fresh pair to the broker from now on."""
        side = self.side
        side.link.take(end, message.pair, Hello(message.incarnation, side.token))

    @property
    def side(self) -> Side:
        """The worker's side of rooms.

        Raises:
            RuntimeError: The worker has not begun yet.
        """
        if self._begun is None:
            raise RuntimeError("rooms can be used when components start, not in constructors")
        return self._begun

    async def stop(self) -> None:
        """Leave the broker."""
        if self._begun is not None:
            self._begun.close()

    # What authors do

    def join(
        self,
        name: str,
        chat: WebSocketConnection | None,
        *,
        since: Position | str | None = None,
        info: Any = None,
        form: Form | None = RAW,
    ) -> Room:
        """Join a room: ``async with rooms.join("a", chat) as room``.

        Within the block the client is sent every message of the room, its own included, as ``form``
        says; RAW: as it was published. With ``since`` it is first sent what came after that position.
        With ``form=None``, or without a ``chat``, nothing is sent: ``async for message in room`` takes
        all.
        ``info`` is any value of JSON, of at most 4 KiB; others are told of it when the member comes and
        goes, and ``members()`` lists it.

        A client that takes its messages too slowly is closed with 1013, and one whose room is closed with
        4404.

        Raises:
            ValueError: No room can have this name, ``since`` is no position, or ``info`` is too large.
            TypeError: ``info`` is no value of JSON.
        """
        given = Position.parse(since) if isinstance(since, str) else since
        protocol = protocol_of(chat) if chat is not None else None
        about = None if info is None else _info(info)
        form = form if chat is not None else None
        return Room(self.side, encode_name(name), protocol, given, about, form)

    async def publish(
        self,
        name: str,
        message: Any,
        *,
        id: str | None = None,
        user: str | None = None,
        client: str = "",
    ) -> Position:
        """Publish a message from anywhere; return its position once it is stored.

        A message is str, bytes, or any other value that JSON has. ``id`` names it among those of ``user``
        and ``client``: published again with the same id, it is not stored again, and has its first
        position. Members see ``user`` as the publisher.

        Raises:
            Unavailable: The broker has not answered within ``publish-timeout``.
            TooManyRooms: It would be one room more than ``max-rooms``.
            TooLarge: It does not fit into the history.
            ValueError: No room can have this name.
            TypeError: It is no such value.
        """
        kind, payload = encode(message)
        return await self.publish_encoded(name, kind, payload, id=id, user=user, client=client)

    async def publish_encoded(
        self,
        name: str,
        kind: int,
        payload: bytes,
        *,
        id: str | None = None,
        user: str | None = None,
        client: str = "",
    ) -> Position:
        """Publish what ``message.encode`` has returned, or what is known to be the same."""
        room, by = encode_name(name), user_of(user)
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.side.publish(room, kind, payload, by, client, id, answer, as_member=False)
        return await answer

    async def history(
        self, name: str, since: Position | str | None = None, limit: int = 100
    ) -> History:
        """Return messages of a room: those after ``since``, or the newest ones, at most ``limit``.

        Fewer come if they are more than 256 KiB; ``more`` says so.

        Raises:
            Unavailable: The broker has not answered within ten seconds.
            ValueError: No room can have this name, or ``since`` is no position.
        """
        side = self.side
        given = Position.parse(since) if isinstance(since, str) else since
        after = None if given is None else Since(*given)
        question = Asking(encode_name(name), limit, after)
        side.registry.ask(question)
        answer: Answer = await answer_of(question.answer, side.limit)
        epoch = side.registry.epoch
        records = split_frames(answer.records)
        messages = [message_of(record, epoch) for record in records if record[4] != CLOSED]
        position = messages[-1].position if messages else Position(epoch, answer.offset, answer.at)
        recovered, more = bool(answer.flags & RECOVERED), bool(answer.flags & MORE)
        return History(recovered, more, position, messages)

    async def members(self, name: str) -> Members:
        """Return who is in a room.

        Raises:
            Unavailable: The broker has not answered within ten seconds.
            ValueError: No room can have this name.
        """
        return await who_is_in(self.side, encode_name(name))

    async def close(self, name: str) -> None:
        """End a room: its connections are closed with 4404, and its history is forgotten.

        Raises:
            NoSuchRoom: Nobody is in it, and it has no history.
            Unavailable: The broker has not answered within ``publish-timeout``.
            ValueError: No room can have this name.
        """
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.side.publishing.begin(Close(encode_name(name)), answer)
        await answer


def _info(value: Any) -> bytes:
    encoded = dumps(value).encode()
    if len(encoded) > MAX_INFO_BYTES:
        raise ValueError(f"expected an info of at most {MAX_INFO_BYTES} bytes of JSON")
    return encoded

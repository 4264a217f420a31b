"""Rooms of one process without a broker, whose answers a test decides on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, cast

from websockets.exceptions import ConnectionClosed

from mpchat.components.component import Component, Components
from mpchat.rooms.errors import NoSuchRoom, RoomError
from mpchat.rooms.forms import RAW, Form
from mpchat.rooms.message import Message
from mpchat.rooms.position import Position
from mpchat.rooms.publishing import Answer
from mpchat.rooms.room import Members, Room
from mpchat.rooms.rooms import History, Rooms
from mpchat.websocket.connection import WebSocketConnection, protocol_of
from mpchat.websocket.shared import Shared

EPOCH = "an-epoch-of-tests"
AT = 1764374400123


class FakeRoom:
    """A member that is sent what all are sent, by ``chat.send``."""

    def __init__(
        self, rooms: FakeRooms, name: str, chat: Any, since: Any, info: Any, form: Form
    ) -> None:
        self.rooms, self.name, self.chat, self.since = rooms, name, chat, since
        self.info, self.form = info, form

    async def __aenter__(self) -> Self:
        if self.rooms.join_error is not None:
            raise self.rooms.join_error
        self.recovered = self.since is None or self.since.epoch == EPOCH
        end = self.rooms.end(self.name)
        self.position = self.since if self.since is not None and self.recovered else end
        await self.send(self.form.joined(self.name, self.position, self.recovered))
        for message in self.rooms.messages.get(self.name, []):
            if message.offset > self.position.offset:
                await self.send(self.form.encode(message))
        for other in self.rooms.joined:
            await other.send(other.form.presence(True, self.info))
        self.rooms.joined.append(self)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.rooms.joined.remove(self)

    async def send(self, frame: tuple[int, bytes] | None) -> None:
        if frame is not None:
            opcode, payload = frame
            await self.chat.send(payload.decode() if opcode == 1 else payload)

    def begin(
        self,
        kind: int,
        payload: bytes,
        answer: Answer,
        *,
        id: str | None = None,
        client: str = "",
    ) -> None:
        user = protocol_of(self.chat).context.user
        publish = self.rooms.publish_encoded(
            self.name, kind, payload, id=id, user=user, client=client
        )
        self.rooms.publishing.append(asyncio.ensure_future(_answered(publish, answer)))

    async def members(self) -> Members:
        return await self.rooms.members(self.name)


async def _answered(publish: Coroutine[Any, Any, Position], answer: Answer) -> None:
    try:
        position = await publish
    except (RoomError, ConnectionClosed) as error:
        # The latter: it was stored, and a member has gone that it was to be sent to.
        if not answer.done():
            answer.set_exception(error)
    else:
        if not answer.done():
            answer.set_result(position)


class FakeRooms(Rooms):
    """Rooms in a list.

    Attributes:
        join_error: What joins raise.
        errors: What the next publishes raise, or await, before they are done.
        keys: User, client and id of each publish.
    """

    needs_broker = False

    def __init__(self, options: Any, components: Components) -> None:
        Component.__init__(self, options, components)
        self.messages: dict[str, list[Message]] = {}
        self.joined: list[FakeRoom] = []
        self.join_error: Exception | None = None
        self.errors: list[Exception | Callable[[], Awaitable[object]]] = []
        self.keys: list[tuple[str | None, str, str | None]] = []
        self.publishing: list[asyncio.Future[None]] = []
        self.listed: list[Any] | None = []
        self.closed: list[str] = []

    def end(self, name: str) -> Position:
        messages = self.messages.get(name)
        return messages[-1].position if messages else Position(EPOCH, 7, 0)

    def join(
        self,
        name: str,
        chat: WebSocketConnection | None,
        *,
        since: Position | str | None = None,
        info: Any = None,
        form: Form | None = RAW,
    ) -> Room:
        assert form is not None
        return cast(Room, FakeRoom(self, name, chat, since, info, form))

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
        self.keys.append((user, client, id))
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, Exception):
                raise error
            await error()
        message = Message(kind, payload, user, EPOCH, self.end(name).offset + 10, AT)
        self.messages.setdefault(name, []).append(message)
        for member in self.joined:
            if member.name == name:
                await member.send(member.form.encode(message))
        return message.position

    async def history(
        self, name: str, since: Position | str | None = None, limit: int = 100
    ) -> History:
        after = since.offset if isinstance(since, Position) else -1
        found = [one for one in self.messages.get(name, []) if one.offset > after]
        recovered = since is None or (isinstance(since, Position) and since.epoch == EPOCH)
        return History(recovered, False, self.end(name), found[-limit:] if limit else [])

    async def members(self, name: str) -> Members:
        return Members(len(self.joined), self.listed)

    async def close(self, name: str) -> None:
        if name not in self.messages:
            raise NoSuchRoom("there is no such room")
        self.closed.append(name)

    def begin(self, shared: Shared) -> None:
        pass

    async def stop(self) -> None:
        pass

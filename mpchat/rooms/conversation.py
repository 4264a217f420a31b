"""One client of a room that speaks ``mpchat.room.v1``: what it is sent, and what becomes of its frames.

Rules. A form is one object for all rooms of a handler: each frame is made once in a worker. A client's
frames are dealt with in their order, and answered in it, so its messages keep their order; publishes do
not wait for the answers to those before them, within a window. One that sends faster than the room takes
is not read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from mpchat.rooms import protocol
from mpchat.rooms.errors import (
    RoomClosed,
    RoomError,
    TooLarge,
    TooManyMessages,
)
from mpchat.rooms.forms import Form, Frame
from mpchat.rooms.message import Message
from mpchat.rooms.names import check_client
from mpchat.rooms.position import Position
from mpchat.rooms.protocol import CloseCode, Reason
from mpchat.rooms.refusals import Refusals
from mpchat.rooms.room import Room
from mpchat.rooms.window import Window
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.frames import TEXT

NOWHERE = Position("-", 0, 0)
"""A position of no history: who comes back with it is told that something is missing."""


class ProtocolForm(Form):
    """The frames of ``mpchat.room.v1``; ``heartbeat`` is in seconds."""

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat

    def encode(self, message: Message) -> Frame:
        """Return a message's frame."""
        kind, payload = message.kind, message.payload
        return TEXT, protocol.message(message.offset, kind, payload, message.at, message.user)

    def joined(self, room: str, position: Position, recovered: bool) -> Frame:
        """Return the first frame."""
        epoch, offset, at = position
        heartbeat = self._heartbeat
        first = protocol.welcome(room, epoch, offset, at, recovered=recovered, heartbeat=heartbeat)
        return TEXT, first.encode()

    def presence(self, joined: bool, info: Any) -> Frame:
        """Return the hint that somebody has come or gone."""
        hint = protocol.joined(info) if joined else protocol.left(info)
        return TEXT, hint.encode()

    def presence_ended(self) -> Frame:
        """Return the word that nobody is told any more who comes and goes."""
        return TEXT, protocol.NO_PRESENCE.encode()


class _Refused(RoomError):
    """A publish that the room does not see."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def client_of(query: Mapping[str, str]) -> str:
    """Return the client's name for itself; without one a name for this connection alone.

    Raises:
        ValueError: It cannot be a name.
    """
    return check_client(query["client"]) if "client" in query else secrets.token_urlsafe(16)


def since_of(query: Mapping[str, str]) -> Position | None:
    """Return the position that a client comes back with, None for one that is new.

    A text that is no position is one that no history has: the client is told so in its first frame.
    """
    if "since" not in query:
        return None
    try:
        return Position.parse(query["since"])
    except ValueError:
        return NOWHERE


class Conversation:
    """What one client says in a room that it has joined; ``client`` is its name for itself."""

    def __init__(
        self,
        chat: WebSocketConnection,
        room: Room,
        client: str,
        refusals: Refusals,
        *,
        may_publish: bool,
        max_message_size: int,
    ) -> None:
        self._chat = chat
        self._room = room
        self._client = client
        self._refusals = refusals
        self._may_publish = may_publish
        self._max_message_size = max_message_size

    async def run(self) -> None:
        """Deal with the client's frames until the connection ends.

        Raises:
            ConnectionClosed: It has.
        """
        chat = self._chat
        window: Window[Any] = Window(chat)
        async with window:
            while True:
                while window.is_due:
                    await self._answer(window)
                text = await chat.recv()
                if isinstance(text, bytes):
                    await self._answer_all(window)
                    reason = f"{protocol.SUBPROTOCOL} has no binary frames"
                    await chat.close(CloseCode.UNSUPPORTED, reason)
                    return
                try:
                    frame = protocol.parse(text)
                except protocol.NotAnObject as error:
                    await self._answer_all(window)
                    await chat.close(CloseCode.INVALID, str(error))
                    return
                match frame:
                    case protocol.Publish():
                        try:
                            window.add(frame.id, self._begin(frame))
                        except RoomError as error:
                            window.refuse(frame.id, error)
                    case protocol.Unpublishable():
                        window.refuse(frame.id, _Refused(Reason.INVALID))
                    case protocol.AskMembers():
                        await self._answer_all(window)
                        await self._tell_members()

    def _begin(self, frame: protocol.Publish) -> asyncio.Future[Position]:
        """Begin to publish a message.

        Raises:
            RoomError: It is refused.
        """
        if not self._may_publish:
            raise _Refused(Reason.FORBIDDEN)
        if len(frame.payload) > self._max_message_size:
            raise _Refused(Reason.SIZE)
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        room, client = self._room, self._client
        room.begin(frame.kind, frame.payload, answer, id=frame.id, client=client)
        return answer

    async def _answer_all(self, window: Window[Any]) -> None:
        while window:
            await self._answer(window)

    async def _answer(self, window: Window[Any]) -> None:
        """Answer the oldest frame, once that is possible."""
        name, answer = window.oldest
        try:
            position = await answer
        except RoomError as error:
            reason = _reason(error)
            await self._chat.send(protocol.nack(name, reason))
            window.pop()
            if reason is Reason.RATE and self._refusals.are_too_many():
                await self._chat.close(CloseCode.TOO_MANY_MESSAGES, "too many messages")
        else:
            await self._chat.send(protocol.ack(name, position.offset))
            window.pop()

    async def _tell_members(self) -> None:
        try:
            found = await self._room.members()
        except RoomError:
            # No frame says that there is no answer; the client may ask again.
            return
        listed = found.infos
        await self._chat.send(protocol.NO_PRESENCE if listed is None else protocol.members(listed))


def _reason(error: RoomError) -> Reason:
    match error:
        case _Refused():
            return error.reason
        case TooManyMessages():
            return Reason.RATE
        case TooLarge():
            return Reason.SIZE
        case RoomClosed():
            return Reason.CLOSED
        case _:
            return Reason.UNAVAILABLE

"""One client of a room that speaks ``mpchat.room.v1``: what it is sent, and what becomes of its frames.

Rules. A form is one object for all rooms of a handler: each frame is made once in a worker. A client's
frames are dealt with one after the other, so its messages keep their order, and one that sends faster
than the room takes is not read.
"""

from __future__ import annotations

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
    """What one client says in a room that it has joined.

    Attributes:
        client: The client's name for itself.
    """

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
        self.client = client
        self._refusals = refusals
        self._may_publish = may_publish
        self._max_message_size = max_message_size

    async def run(self) -> None:
        """Deal with the client's frames until the connection ends.

        Raises:
            ConnectionClosed: It has.
        """
        chat = self._chat
        while True:
            text = await chat.recv()
            if isinstance(text, bytes):
                reason = f"{protocol.SUBPROTOCOL} has no binary frames"
                await chat.close(CloseCode.UNSUPPORTED, reason)
                return
            try:
                frame = protocol.parse(text)
            except protocol.NotAnObject as error:
                await chat.close(CloseCode.INVALID, str(error))
                return
            match frame:
                case protocol.Publish():
                    await self._publish(frame)
                case protocol.Unpublishable():
                    await chat.send(protocol.nack(frame.id, Reason.INVALID))
                case protocol.AskMembers():
                    await self._tell_members()

    async def _publish(self, frame: protocol.Publish) -> None:
        """Publish a message, and answer."""
        reason: Reason
        if not self._may_publish:
            reason = Reason.FORBIDDEN
        elif len(frame.payload) > self._max_message_size:
            reason = Reason.SIZE
        else:
            try:
                position = await self._room.publish_encoded(
                    frame.kind, frame.payload, id=frame.id, client=self.client
                )
            except RoomError as error:
                reason = _reason(error)
            else:
                await self._chat.send(protocol.ack(frame.id, position.offset))
                return
        await self._chat.send(protocol.nack(frame.id, reason))
        if reason is Reason.RATE and self._refusals.are_too_many():
            await self._chat.close(CloseCode.TOO_MANY_MESSAGES, "too many messages")

    async def _tell_members(self) -> None:
        try:
            found = await self._room.members()
        except RoomError:
            # The client asks again; hints have said that much.
            return
        listed = found.infos
        await self._chat.send(protocol.NO_PRESENCE if listed is None else protocol.members(listed))


def _reason(error: RoomError) -> Reason:
    match error:
        case TooManyMessages():
            return Reason.RATE
        case TooLarge():
            return Reason.SIZE
        case RoomClosed():
            return Reason.CLOSED
        case _:
            return Reason.UNAVAILABLE

"""room-handler: the members of a room, by raw frames or by ``mpchat.room.v1``.

Rules. Who may not join is told by a close code, not by the handshake's answer: a page sees no status of
a handshake. Without the subprotocol a message is a frame, and there is nothing else: no position, no
history, no answer.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Annotated, Any

from pydantic import Field, field_validator

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.config.types import ByteSize, Duration
from mpchat.http.request import HttpRequest
from mpchat.rooms.conversation import Conversation, ProtocolForm, client_of, since_of
from mpchat.rooms.errors import RoomClosed, RoomError, TooLarge, TooManyMessages
from mpchat.rooms.message import encode
from mpchat.rooms.names import encode_name
from mpchat.rooms.paths import check_parameter
from mpchat.rooms.protocol import HEARTBEAT, SUBPROTOCOL, CloseCode
from mpchat.rooms.refusals import Refusals
from mpchat.rooms.room import Room
from mpchat.rooms.rooms import Rooms
from mpchat.rooms.window import Tally
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.heartbeat import Heartbeat


class Access(Enum):
    """What ``RoomHandler.authorize`` answers.

    Attributes:
        JOIN: The client may read and publish.
        LISTEN: The client may read; what it publishes is refused.
        REFUSED: The client may not join, and is closed with 4403.
        UNKNOWN: There is no such room: 4404.
    """

    JOIN = auto()
    LISTEN = auto()
    REFUSED = auto()
    UNKNOWN = auto()


class RoomHandler(WebsocketHandlerBase):
    """Members of rooms, ``room-handler``: what one publishes all get, in every worker.

    Derive to decide who may join (``authorize``) and what others are told of a member (``member_info``).
    The path has a parameter ``{room}``. docs/rooms.md tells what is promised, and the protocol.
    """

    name = "room-handler"
    section_optional = True
    subprotocol_optional = True

    class Options(WebsocketHandlerBase.Options):
        """Options of the members of rooms."""

        subprotocols: Annotated[
            tuple[str, ...],
            Field(
                strict=False,
                description="Subprotocols, the preferred one first. A client that offers none sends "
                "and gets raw messages; one that offers others only gets 400",
            ),
        ] = (SUBPROTOCOL,)
        heartbeat: Annotated[
            Duration,
            Field(
                description="Time without a frame to a client that speaks the subprotocol, after which "
                "it is sent `{}`; 0s: never"
            ),
        ] = 25.0
        max_message_size: Annotated[
            ByteSize,
            Field(
                alias="max-message-size",
                description="Largest message in bytes, as it is stored; a larger one is answered with "
                "`size`, without the subprotocol it ends with code 1009. In a frame it may take more: "
                "see max-remote-payload",
            ),
        ] = 32768

        @field_validator("path")
        @classmethod
        def _check_path(cls, path: str) -> str:
            return check_parameter(path)

    def __init__(self, options: Any, components: Components) -> None:
        """Override like Component's."""
        super().__init__(options, components)
        self.rooms = components.find(Rooms)
        self._form = ProtocolForm(self.options.heartbeat)
        self._clock = components.host.clock

    async def authorize(self, room: str, context: Context) -> Access | bool:
        """Override to decide who may join; the option ``auth`` has said who that is (``context.user``).

        True is ``Access.JOIN``, False ``Access.REFUSED``. By default everybody may.
        """
        return True

    def member_info(self, room: str, context: Context) -> Any:
        """Override to say what others are told of a member: any value of JSON, None for nothing.

        By default ``{"user": context.user}``, nothing without a user. A member of whom nothing is told is
        counted, and not listed.
        """
        return None if context.user is None else {"user": context.user}

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        """Let the client in, and be there for it until the connection ends."""
        room = context.path_params["room"]
        try:
            encode_name(room)
        except ValueError as error:
            await chat.close(CloseCode.NO_ROOM, str(error))
            return
        access = await self.authorize(room, context)
        if access is Access.UNKNOWN:
            await chat.close(CloseCode.NO_ROOM, "there is no such room")
            return
        if access is Access.REFUSED or access is False:
            await chat.close(CloseCode.FORBIDDEN, "you may not join this room")
            return
        may_publish = access is not Access.LISTEN
        try:
            if chat.subprotocol == SUBPROTOCOL:
                await self._converse(chat, context, room, may_publish)
            else:
                await self._pass_on(chat, context, room, may_publish)
        except RoomError as error:
            # It could not join: what is left to say is when to come back.
            await chat.close(CloseCode.TRY_AGAIN_LATER, str(error))

    async def _converse(
        self, chat: WebSocketConnection, context: Context, room: str, may_publish: bool
    ) -> None:
        """Serve a member that speaks the subprotocol."""
        query = HttpRequest(chat.request).query
        try:
            client = client_of(query)
        except ValueError as error:
            await chat.close(CloseCode.POLICY, f"client: {error}")
            return
        options, info = self.options, self.member_info(room, context)
        joining = self.rooms.join(room, chat, since=since_of(query), info=info, form=self._form)
        async with joining as member:
            conversation = Conversation(
                chat,
                member,
                client,
                Refusals(self.rooms.options.publish_rate, self._clock),
                may_publish=may_publish,
                max_message_size=options.max_message_size,
            )
            heartbeat = Heartbeat(chat, HEARTBEAT, options.heartbeat) if options.heartbeat else None
            try:
                await conversation.run()
            finally:
                if heartbeat is not None:
                    heartbeat.stop()

    async def _pass_on(
        self, chat: WebSocketConnection, context: Context, room: str, may_publish: bool
    ) -> None:
        """Serve a member that sends and gets raw messages."""
        async with self.rooms.join(room, chat, info=self.member_info(room, context)) as member:
            if not may_publish:
                async for _message in chat:
                    await chat.close(CloseCode.FORBIDDEN, "you may not publish in this room")
                    return
            await self._publish_all(chat, member)

    async def _publish_all(self, chat: WebSocketConnection, member: Room) -> None:
        """Publish raw messages, until the connection ends or one is refused."""
        async with Tally(chat, _ending) as tally:
            async for message in chat:
                if tally.error is not None:
                    return
                try:
                    kind, payload = encode(message)
                    if len(payload) > self.options.max_message_size:
                        raise TooLarge("the message is too large")
                    member.begin(kind, payload, tally)
                except RoomError as error:
                    tally.refuse(error)
                else:
                    await tally.add()


def _ending(error: Exception) -> tuple[int, str]:
    """Return how the connection of a raw client ends that has published in vain."""
    match error:
        case TooLarge():
            return CloseCode.TOO_LARGE, str(error)
        case TooManyMessages():
            return CloseCode.TOO_MANY_MESSAGES, str(error)
        case RoomClosed():
            return CloseCode.NO_ROOM, "the room has ended"
        case _:
            return CloseCode.TRY_AGAIN_LATER, str(error)

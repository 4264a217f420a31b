"""The subprotocol ``mpchat.room.v1``: what the frames between a client and a room say (docs/rooms.md).

Rules.
- Text frames, one JSON object each. What neither side knows, an object or a member of one, is ignored.
- A frame is parsed once for its publisher, and made once for all who get it: the JSON of a message is
  stored as its bytes, and goes out as they are.
- A string is stored as that text, so members without the subprotocol get the text itself. Any other value
  is stored as its JSON, base64 as the bytes. This way nothing is guessed on the way back.
- Pure: no connection, no clock, no room.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, NoReturn

from mpchat.rooms.message import BINARY, JSON, dumps, encode
from mpchat.rooms.names import MAX_ID

SUBPROTOCOL = "mpchat.room.v1"
HEARTBEAT = "{}"
NO_PRESENCE = '{"presence":false}'


class CloseCode(IntEnum):
    """Why a room, or the way there, ends a connection; clients act by the number."""

    UNAUTHORIZED = 4401
    """The client's identity has expired or was taken away"""
    FORBIDDEN = 4403
    """The client may not join this room"""
    NO_ROOM = 4404
    """There is no such room, or it has ended"""
    TOO_MANY_MESSAGES = 4429
    """The client went on publishing although its messages were refused"""
    TRY_AGAIN_LATER = 1013
    """Too slow, or the room cannot be served now: come back with the position"""
    RESTART = 1012
    """This worker ends, another one serves: come back with the position"""
    UNSUPPORTED = 1003
    """A binary frame, where the subprotocol has none"""
    INVALID = 1007
    """A frame that is not one JSON object"""
    POLICY = 1008
    """``?client=`` is no name that a client can have, or a limit of the connection was exceeded"""
    TOO_LARGE = 1009
    """A frame beyond ``max-remote-payload``, or a raw message beyond ``max-message-size``"""


class Reason(StrEnum):
    """Why a message was not published."""

    RATE = "rate"
    """Too many messages in a second"""
    SIZE = "size"
    """The message is too large"""
    INVALID = "invalid"
    """The frame is no publish of this protocol"""
    FORBIDDEN = "forbidden"
    """The client may listen, and not publish"""
    UNAVAILABLE = "unavailable"
    """Nobody knows whether it was stored: repeat it with the same id"""
    CLOSED = "closed"
    """The room has ended"""


class Publish(NamedTuple):
    """A message that a client wants in the room."""

    id: str
    kind: int
    """As in ``message``"""
    payload: bytes


class Unpublishable(NamedTuple):
    """A publish that has a mistake: the answer is ``nack`` with INVALID."""

    id: Any
    """What came in place of an id; any JSON value"""


class AskMembers(NamedTuple):
    """The client asks who is in the room."""


class Unknown(NamedTuple):
    """An object of a later version, or of another program: it is ignored."""


Frame = Publish | Unpublishable | AskMembers | Unknown


class NotAnObject(ValueError):
    """A frame that is not one JSON object; the text says so to the client."""

    def __init__(self) -> None:
        super().__init__(f"expected frames of {SUBPROTOCOL}: one JSON object each")


def parse(text: str) -> Frame:
    """Return what a client's frame asks for.

    Raises:
        NotAnObject: It is no JSON object (RFC 8259), or is nested too deeply.
    """
    try:
        frame = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotAnObject from None
    if not isinstance(frame, dict):
        raise NotAnObject
    if "publish" in frame:
        return _publish(frame)
    return AskMembers() if frame.get("members") is True else Unknown()


def _refuse(_constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError


def _publish(frame: Mapping[str, Any]) -> Publish | Unpublishable:
    name = frame["publish"]
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_ID:
        return Unpublishable(name)
    if ("data" in frame) == ("base64" in frame):
        return Unpublishable(name)
    try:
        # An id with half a character would be lost on its way to the broker.
        name.encode()
        if "data" in frame:
            return Publish(name, *encode(frame["data"]))
        return Publish(name, BINARY, base64.b64decode(frame["base64"], validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        return Unpublishable(name)


def message(offset: int, kind: int, payload: bytes, at: int, by: str | None) -> bytes:
    """Return the frame of a message.

    ``at`` is in milliseconds since 1970; ``by`` is the publisher's user, None if nobody knows.
    """
    if kind & BINARY:
        member = b'"base64":"%b"' % base64.b64encode(payload)
    elif kind & JSON:
        member = b'"data":%b' % payload
    else:
        member = b'"data":%b' % dumps(payload.decode()).encode()
    author = b"" if by is None else b',"by":%b' % dumps(by).encode()
    return b'{"offset":%d,%b,"at":%d%b}' % (offset, member, at, author)


def welcome(
    room: str, epoch: str, offset: int, at: int, *, recovered: bool, heartbeat: float
) -> str:
    """Return the first frame: where the client stands, and what it may expect.

    ``heartbeat`` is in seconds, and has no fraction if it needs none.
    """
    return dumps(
        {
            "room": room,
            "epoch": epoch,
            "offset": offset,
            "at": at,
            "recovered": recovered,
            "heartbeat": int(heartbeat) if heartbeat == int(heartbeat) else heartbeat,
        }
    )


def ack(name: str, offset: int) -> str:
    """Return the answer to a publish that is stored."""
    return dumps({"ack": name, "offset": offset})


def nack(name: Any, reason: Reason) -> str:
    """Return the answer to a publish that is not."""
    # ASCII: what came in place of an id may have half a character, which UTF-8 cannot write.
    return json.dumps({"nack": name, "reason": reason.value}, separators=(",", ":"))


def joined(member: Any) -> str:
    """Return the hint that somebody has come."""
    return dumps({"joined": member})


def left(member: Any) -> str:
    """Return the hint that somebody has gone."""
    return dumps({"left": member})


def members(found: Iterable[Any]) -> str:
    """Return the answer to the question who is there."""
    return dumps({"members": [*found]})

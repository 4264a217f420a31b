"""handler-rooms: rooms for programs without a WebSocket, such as backends.

Rules. A body is JSON or bytes, as its Content-Type says, and nothing else: no HTML form of another site
can send one of these. Errors are those of all HTTP handlers.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator
from websockets.http11 import Response

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.handler_base import Method
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.errors import HttpError, bad_request
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response
from mpchat.rooms import protocol
from mpchat.rooms.errors import NoSuchRoom, RoomClosed, RoomError, TooLarge, TooManyRooms
from mpchat.rooms.message import BINARY, encode
from mpchat.rooms.names import MAX_ID, encode_name
from mpchat.rooms.paths import check_parameter
from mpchat.rooms.position import Position
from mpchat.rooms.rooms import Rooms

MAX_LIMIT = 1000
"""Messages of an answer at most."""

_LIMIT = re.compile(r"[0-9]{1,9}")


class RoomsHandler(HttpHandlerBase):
    """Rooms by plain HTTP, ``handler-rooms``: ``POST``, ``GET`` and ``DELETE`` of ``/rooms/{room}``.

    It may have the path of ``room-handler``. Everybody may do everything unless its section has ``auth``
    or another ``method``. docs/rooms.md has requests and answers.
    """

    name = "handler-rooms"
    section_optional = True

    class Options(HttpHandlerBase.Options):
        """Options of rooms by HTTP."""

        method: Method = "GET,POST,DELETE"

        @field_validator("path")
        @classmethod
        def _check_path(cls, path: str) -> str:
            return check_parameter(path)

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._rooms = components.find(Rooms)

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        """Publish, tell, or end a room."""
        room = context.path_params["room"]
        try:
            encode_name(room)
        except ValueError as error:
            raise bad_request(str(error)) from error
        try:
            match request.method:
                case "POST":
                    return await self._publish(room, request, context)
                case "DELETE":
                    await self._rooms.close(room)
                    return response(204)
                case _:
                    return await self._tell(room, request)
        except RoomError as error:
            raise _refusal(error) from error

    async def _publish(self, room: str, request: HttpRequest, context: Context) -> Response:
        kind, payload = _read(request)
        key = _key(request)
        position = await self._rooms.publish_encoded(room, kind, payload, id=key, user=context.user)
        return response(200, json=_told(position))

    async def _tell(self, room: str, request: HttpRequest) -> Response:
        query = request.query
        limit, since = query.get("limit", "100"), query.get("since")
        if not _LIMIT.fullmatch(limit) or int(limit) > MAX_LIMIT:
            raise bad_request(f"limit: expected a number from 0 to {MAX_LIMIT}")
        try:
            position = None if since is None else Position.parse(since)
        except ValueError as error:
            raise bad_request(f"since: {error}") from error
        history = await self._rooms.history(room, position, int(limit))
        members = await self._rooms.members(room)
        told = {
            "room": room,
            **_told(history.position),
            "recovered": history.recovered,
            "more": history.more,
            "count": members.number,
            "members": members.infos,
        }
        messages = b",".join(
            protocol.message(one.offset, one.kind, one.payload, one.at, one.user)
            for one in history.messages
        )
        # Messages are JSON already, and may be many.
        head = bytes(response(200, json=told).body)
        body = b'%b,"messages":[%b]}' % (head[:-1], messages)
        return response(200, body, content_type="application/json")


def _told(position: Position) -> dict[str, Any]:
    """Return a position's parts, and the whole as ``since`` takes it."""
    return {**position._asdict(), "position": str(position)}


def _read(request: HttpRequest) -> tuple[int, bytes]:
    """Return the kind and the bytes of the message that a request has for a body.

    Raises:
        HttpError: 400, or 415.
    """
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "application/octet-stream":
        return BINARY, request.body
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HttpError(
            415, "expected a body with Content-Type: application/json or application/octet-stream"
        )
    try:
        return encode(request.json())
    except (ValueError, TypeError, RecursionError) as error:
        # Python reads NaN, and half a character.
        raise bad_request("the body is not JSON that UTF-8 can write") from error


def _key(request: HttpRequest) -> str | None:
    """Return the id that a request gives its message.

    Raises:
        HttpError: 400.
    """
    keys = request.headers.get_all("Idempotency-Key")
    if not keys:
        return None
    # A quoted string (RFC 8941, 3.3.3), as the header's draft has it, or what most clients send.
    key = keys[0].strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(keys) > 1 or not 1 <= len(key) <= MAX_ID:
        raise bad_request(f"Idempotency-Key: expected one id of at most {MAX_ID} characters")
    return key


def _refusal(error: RoomError) -> HttpError:
    """Return the answer to what a room refuses."""
    match error:
        case TooLarge():
            return HttpError(413, str(error))
        case NoSuchRoom():
            return HttpError(404, str(error))
        case RoomClosed():
            return HttpError(409, str(error), code="room_closed")
        case TooManyRooms():
            return HttpError(503, str(error), {"Retry-After": "10"}, code="too_many_rooms")
        case _:
            return HttpError(503, str(error), {"Retry-After": "1"}, code="unavailable")

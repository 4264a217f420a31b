"""What a room contains.

Rules. A message is a text, bytes, or any other value of JSON. A string is stored as that text, another
value as its JSON; nothing is guessed on the way back.
"""

from __future__ import annotations

import json
from typing import Any

from mpchat.rooms.position import Position

TEXT, BINARY, JSON = 0, 1, 4
"""What a payload is: the flags of its record that say so"""


def encode(message: Any) -> tuple[int, bytes]:
    """Return the kind and the bytes of a message as it is stored.

    Raises:
        ValueError: JSON or UTF-8 has no such value: NaN, an infinite number, half a character.
        TypeError: It is no text, no bytes, and no value of JSON.
    """
    if isinstance(message, str):
        return TEXT, message.encode()
    if isinstance(message, (bytes, bytearray, memoryview)):
        return BINARY, bytes(message)
    return JSON, dumps(message).encode()


def dumps(value: Any) -> str:
    """Return the JSON of a value, without spaces.

    Raises:
        ValueError: JSON has no such value: NaN, an infinite number.
        TypeError: It is no value of JSON.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Message:
    """One message of a room.

    Attributes:
        kind: TEXT, BINARY or JSON.
        payload: Its bytes; of a text, UTF-8.
        user: The publisher's ``context.user``; None without one.
        epoch, offset, at: The parts of its position.
    """

    __slots__ = ("at", "epoch", "kind", "offset", "payload", "user")

    def __init__(
        self, kind: int, payload: bytes, user: str | None, epoch: str, offset: int, at: int
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.user = user
        self.epoch = epoch
        self.offset = offset
        self.at = at

    def __reduce__(self) -> tuple[type[Message], tuple[Any, ...]]:
        """Let it be copied and pickled, compiled as well."""
        return Message, (self.kind, self.payload, self.user, self.epoch, self.offset, self.at)

    @property
    def data(self) -> Any:
        """The message as it was published: str for text, bytes for binary, else a value of JSON."""
        if self.kind == BINARY:
            return self.payload
        return json.loads(self.payload) if self.kind == JSON else self.payload.decode()

    @property
    def position(self) -> Position:
        """Its place: who joins ``since`` there gets what came after it."""
        return Position(self.epoch, self.offset, self.at)

    def __repr__(self) -> str:
        return f"<Message {self.position} of {len(self.payload)} bytes>"

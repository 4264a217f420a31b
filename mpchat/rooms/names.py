"""What a room, a client and a message's id may be called.

Rules. A name is what its sender says it is or an error: nothing is cut, folded or cleaned.
"""

from __future__ import annotations

import re

from mpchat.ipc.rooms import MAX_ROOM_BYTES

MAX_ID = 64
"""Longest id of a publish, in characters."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CLIENT = re.compile(r"[A-Za-z0-9_.~-]{16,64}")


def encode_name(name: str) -> bytes:
    """Return the UTF-8 of a room's name, if a room can have it: 1 to 128 bytes, no control characters.

    Raises:
        ValueError: None can; the text says what is expected, and nothing of the name.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 1 <= len(encoded) <= MAX_ROOM_BYTES or _CONTROL.search(name):
        raise ValueError(
            f"expected a room's name: 1 to {MAX_ROOM_BYTES} bytes of UTF-8 without control characters"
        )
    return encoded


def check_client(name: str) -> str:
    """Return a client's name for itself if it may be one: 16 to 64 characters that URLs leave alone.

    Raises:
        ValueError: It may not; the text says what is expected, and nothing of the name.
    """
    if not _CLIENT.fullmatch(name):
        raise ValueError("expected a client's name: 16 to 64 letters, digits or any of - . _ ~")
    return name

"""Frames that we send: their headers, and Close frames. Pure (RFC 6455, section 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from websockets.exceptions import ProtocolError
from websockets.frames import Close

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = 0x8
"""Set in the opcodes of control frames."""
FINAL = 0x80
"""Set in the last frame of a message."""
RSV1 = 0x40
"""Set in the first frame of a compressed message (RFC 7692, section 6)."""
MAX_CONTROL = 125
"""Bytes of payload that a control frame may have."""

_pack_medium = struct.Struct(">BBH").pack
_pack_long = struct.Struct(">BBQ").pack


@dataclass(frozen=True)
class Ending:
    """A Close: its code and reason, and the frame that we send for it."""

    close: Close
    frame: bytes


def frame_header(opcode: int, length: int, *, final: bool = True) -> bytes:
    """Return the header of an unmasked frame (RFC 6455, section 5.2)."""
    first = opcode | FINAL if final else opcode
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return _pack_medium(first, 126, length)
    return _pack_long(first, 127, length)


def in_fragments(opcode: int, payload: bytes, size: int, most: int) -> list[bytes]:
    """Return the headers and payloads of a message in fragments of this size; 0: in one.

    Rather than more than ``most`` there are larger ones.
    """
    length = len(payload)
    if not size or length <= size:
        return [frame_header(opcode, length), payload]
    size = max(size, -(-length // most))
    parts: list[bytes] = []
    for start in range(0, length, size):
        part = payload[start : start + size]
        parts += (frame_header(opcode, len(part), final=start + size >= length), part)
        opcode = 0
    return parts


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a Close frame of ours.

    Raises:
        ProtocolError: The code must not be sent, or the reason is too long.
    """
    payload = Close(code, reason).serialize()
    if len(payload) > MAX_CONTROL:
        raise ProtocolError("the reason of a Close has at most 123 bytes")
    return frame_header(CLOSE, len(payload)) + payload


def ending(code: int, reason: str) -> Ending:
    """Return a Close of ours.

    Raises:
        ProtocolError: The code must not be sent, or the reason is too long.
    """
    return Ending(Close(code, reason), close_frame(code, reason))

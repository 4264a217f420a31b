"""The rules of a client's frame header (RFC 6455, sections 5.2 and 5.4; RFC 7692, section 6). Pure."""

from __future__ import annotations

from websockets.frames import CloseCode

from mpchat.websocket.assembly import Assembly
from mpchat.websocket.deflate import longest_deflated
from mpchat.websocket.frames import BINARY, CONTROL, MAX_CONTROL, PONG, RSV1


def check_opening(first: int, second: int) -> str | None:
    """Return what is wrong with the first two bytes of a frame, whatever follows."""
    opcode = first & 0x0F
    if opcode > PONG or BINARY < opcode < CONTROL:
        return f"unknown opcode {opcode}"
    if second < 0x80:
        return "a client's frames must be masked"
    return None


def check_header(
    first: int,
    second: int,
    length: int,
    assembly: Assembly | None,
    max_size: int,
    can_inflate: bool,
) -> tuple[CloseCode, str] | None:
    """Return the close code and reason for a header that breaks a rule.

    ``assembly`` is the message that has begun. A header that breaks several rules gets the reason that
    ``websockets`` would give.
    """
    opening = check_opening(first, second)
    if opening is not None:
        return CloseCode.PROTOCOL_ERROR, opening
    opcode = first & 0x0F
    is_control = opcode >= CONTROL
    size = length + (assembly.arrived if assembly is not None else 0)
    is_compressed = first & 0x70 == RSV1 and 0 < opcode < CONTROL and can_inflate
    if is_compressed or (assembly is not None and assembly.is_compressed):
        max_size = longest_deflated(max_size)
    if size > max_size and not (is_control and length <= MAX_CONTROL):
        return CloseCode.MESSAGE_TOO_BIG, f"message of {size} bytes or more"
    if first & 0x70 and not is_compressed:
        return CloseCode.PROTOCOL_ERROR, "reserved bits must be 0"
    if is_control:
        if not first & 0x80:
            return CloseCode.PROTOCOL_ERROR, "a control frame must not be fragmented"
        if length > MAX_CONTROL:
            return CloseCode.PROTOCOL_ERROR, "a control frame has at most 125 bytes"
        return None
    if opcode and assembly is not None:
        return CloseCode.PROTOCOL_ERROR, "a new message before the last one ended"
    if not opcode and assembly is None:
        return CloseCode.PROTOCOL_ERROR, "a continuation of nothing"
    return None

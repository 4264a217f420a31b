"""Frames as a client sends them, right or wrong.

They are built from RFC 6455 alone, so that neither our parser's mistakes nor those of ``websockets`` are
built in.
"""

from __future__ import annotations

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, CONTROL = 0x80, 0x08
ANY_MASK = b"\xa5\x01\xfe\x3c"


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return the payload under a mask of four bytes (RFC 6455, section 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def frame(
    first: int, payload: bytes, mask: bytes = ANY_MASK, *, width: int = 0, length: int | None = None
) -> bytes:
    """Return a masked frame; its length in the fewest bytes, or in ``width``, and true or not."""
    length = len(payload) if length is None else length
    if length < 126 and width == 0:
        header = bytes((first, 0x80 | length))
    elif length < 1 << 16 and width <= 2:
        header = bytes((first, 0x80 | 126)) + length.to_bytes(2)
    else:
        header = bytes((first, 0x80 | 127)) + length.to_bytes(8)
    return header + mask + masked(payload, mask)

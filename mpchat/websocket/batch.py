"""Messages that many connections are sent, as the bytes that leave: made once for all that agree.

Rules. Connections agree that have the same fragment size and the same compression, without context
takeover: with it each has a window of its own, and compresses for itself. What one connection is sent in
one go is one piece, so it leaves in one write.
"""

from __future__ import annotations

from typing import TypeAlias

from mpchat.websocket.deflate import Deflater
from mpchat.websocket.frames import FINAL, RSV1, in_fragments
from mpchat.websocket.payload import framed
from mpchat.websocket.thresholds import Thresholds

Frame: TypeAlias = tuple[int, bytes]
"""The opcode of a message, TEXT or BINARY, and its payload"""


class Batch:
    """Some messages, in order.

    Attributes:
        frames: Their opcodes and payloads.
        count, size: Their number, and the bytes of their payloads.
    """

    __slots__ = ("_made", "_plain", "_plain_size", "count", "frames", "size")

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.count = len(frames)
        size = 0
        for _opcode, payload in frames:
            size += len(payload)
        self.size = size
        self._made: dict[tuple[int, int], bytes] = {}
        self._plain: bytes | None = None
        self._plain_size = 0

    def plain(self, fragment_size: int, thresholds: Thresholds) -> bytes:
        """Return the bytes for connections without compression."""
        # The connections of nearly every audience have the same fragment size.
        if self._plain is None:
            self._plain = self._made_plain(fragment_size, thresholds)
            self._plain_size = fragment_size
        if self._plain_size == fragment_size:
            return self._plain
        made = self._made.get((fragment_size, 0))
        if made is None:
            made = self._made[fragment_size, 0] = self._made_plain(fragment_size, thresholds)
        return made

    def _made_plain(self, fragment_size: int, thresholds: Thresholds) -> bytes:
        parts = [
            fragments(opcode, payload, fragment_size, thresholds) for opcode, payload in self.frames
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def deflated(self, fragment_size: int, deflater: Deflater, thresholds: Thresholds) -> bytes:
        """Return the bytes for connections that compress as this one, without context takeover."""
        made = self._made.get((fragment_size, deflater.bits))
        if made is None:
            parts = []
            for opcode, payload in self.frames:
                shorter = deflater.deflate(payload)
                first = opcode if shorter is None else opcode | RSV1
                data = payload if shorter is None else shorter
                parts.append(fragments(first, data, fragment_size, thresholds))
            made = self._made[fragment_size, deflater.bits] = b"".join(parts)
        return made


def fragments(opcode: int, payload: bytes, size: int, thresholds: Thresholds) -> bytes:
    """Return a message as it leaves, in fragments of this size; 0: in one."""
    if not size or len(payload) <= size:
        return framed(opcode | FINAL, payload)
    return b"".join(in_fragments(opcode, payload, size, thresholds.max_fragments))

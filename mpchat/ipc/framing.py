"""A stream of bytes to frames: the pair of a worker and the broker.

Rules. A frame begins with its own size, a u32 in little endian that counts itself, and its kind, a byte.
The stream may be cut anywhere. A frame that arrives in pieces is joined once, when its last byte is
there. What cannot be a frame raises MalformedFrame before anything is kept for it, so the other end,
however confused, takes at most one frame of memory.
"""

from __future__ import annotations

import struct
from typing import Final

from mpchat.ipc.numbers import u32_at

HEAD_BYTES: Final = 5
"""Bytes of the smallest frame: its size and its kind."""
MAX_FRAME_BYTES: Final = 2 * 1024 * 1024
"""Bytes of the largest frame: a page of history with a record as large as a segment fits."""

_SIZE_BYTES: Final = 4


class MalformedFrame(Exception):
    """The other end sent what is no frame, or not of its kind; the text says what."""


class Frames:
    """The frames of one stream.

    Attributes:
        held: Bytes of a frame whose end has not arrived yet.
    """

    __slots__ = ("_limit", "_parts", "_wanted", "held")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        """Take frames of at most ``limit`` bytes."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._wanted = 0
        self.held = 0

    def cut(self, data: bytes) -> list[bytes]:
        """Return the frames that are whole with these bytes, in order.

        Raises:
            MalformedFrame: A size that no frame has. The stream is of no more use.
        """
        end = len(data)
        if self.held:
            self._parts.append(data)
            self.held = end = self.held + end
            if end < self._wanted:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        frames = []
        at, wanted, limit = 0, _SIZE_BYTES, self._limit
        while end - at >= _SIZE_BYTES:
            size = u32_at(data, at)
            if not HEAD_BYTES <= size <= limit:
                raise MalformedFrame(f"a frame of {size} bytes; expected {HEAD_BYTES} to {limit}")
            following = at + size
            if following > end:
                wanted = size
                break
            frames.append(data[at:following])
            at = following
        self.held = end - at
        if self.held:
            self._parts.append(data[at:])
            self._wanted = wanted
        return frames


def split_frames(data: bytes) -> list[bytes]:
    """Return frames that stand one after the other, such as the records of a page.

    Raises:
        MalformedFrame: The bytes are not whole frames.
    """
    frames = Frames()
    found = frames.cut(data)
    if frames.held:
        raise MalformedFrame(f"{frames.held} bytes that are no whole frame")
    return found


def expect_exactly(frame: bytes, layout: struct.Struct) -> None:
    """Raise MalformedFrame unless the frame has the size of its numbers, and nothing behind them."""
    expect_size(frame, layout.size)


def expect_at_least(frame: bytes, layout: struct.Struct) -> None:
    """Raise MalformedFrame if the frame is too short for its numbers."""
    if len(frame) < layout.size:
        raise MalformedFrame(
            f"frame {frame[4]} of {len(frame)} bytes; expected {layout.size} or more"
        )


def expect_size(frame: bytes, size: int) -> None:
    """Raise MalformedFrame unless the frame is as long as its parts together."""
    if len(frame) != size:
        raise MalformedFrame(f"frame {frame[4]} of {len(frame)} bytes, whose parts take {size}")

"""A frame that has begun and has not arrived whole.

Rules. Its bytes are collected in parts. A large one gets a buffer that the rest is read into (see bulk),
but an announced length alone reserves no memory. Text is refused at its first wrong byte, also in a frame
that trickles.
"""

from __future__ import annotations

import codecs

from mpchat.websocket.parts import Parts
from mpchat.websocket.payload import frame_buffer, unmask
from mpchat.websocket.thresholds import Thresholds


class Partial:
    """One such frame, header included.

    Attributes:
        rest: Where the next bytes have to be put, for ``fill``; None if they are for ``add``.
    """

    __slots__ = (
        "_buffer",
        "_may_buffer",
        "_missing",
        "_parts",
        "_size",
        "_text_from",
        "_thresholds",
        "rest",
    )

    def __init__(
        self,
        beginning: bytes | memoryview,
        size: int,
        text_from: int,
        may_buffer: bool,
        thresholds: Thresholds,
    ) -> None:
        """``size`` is that of the frame; ``text_from`` is where its text begins, 0 if it has none."""
        self._thresholds = thresholds
        self._size = size
        self._missing = size - len(beginning)
        self._text_from = text_from
        self._may_buffer = may_buffer
        self._buffer: memoryview | None = None
        self._parts: Parts[bytes] | None = None
        self.rest: memoryview | None = None
        if self._deserves_buffer():
            self._begin_buffer(beginning)
        else:
            self._parts = Parts(b"", thresholds.joined_parts)
            self._parts.add(bytes(beginning))

    def _deserves_buffer(self) -> bool:
        thresholds = self._thresholds
        if not self._may_buffer or self._missing < thresholds.buffered_payload:
            return False
        return (self._size - self._missing) * thresholds.buffered_part >= self._size

    def _begin_buffer(self, arrived: bytes | memoryview) -> None:
        self._buffer = frame_buffer(self._size)
        self._buffer[: len(arrived)] = arrived
        self.rest = self._buffer[len(arrived) :]
        self._parts = None

    @property
    def arrived(self) -> bytes | memoryview:
        """What there is of it."""
        if self._buffer is None or self.rest is None:
            return self._parts.join() if self._parts is not None else b""
        return self._buffer[: len(self._buffer) - len(self.rest)]

    def add(self, data: bytes | memoryview) -> bytes | None:
        """Take further bytes; return the frame, and what came behind it, once it is whole."""
        if self._parts is None:
            return None
        self._parts.add(bytes(data))
        self._missing -= len(data)
        if self._missing <= 0:
            return self._parts.join()
        if self._deserves_buffer():
            self._begin_buffer(self._parts.join())
        return None

    def fill(self, count: int) -> memoryview | None:
        """So many bytes have been put into ``rest``; return the frame once it is whole."""
        buffer, rest = self._buffer, self.rest
        if buffer is None or rest is None:
            return None
        self._missing -= count
        if self._missing > 0:
            self.rest = rest[count:]
            return None
        return buffer

    def has_wrong_text(self) -> bool:
        """Whether its text is no UTF-8, as far as that can be told from its beginning."""
        start, checked = self._text_from, self._thresholds.checked_text
        if not start:
            return False
        data = self.arrived
        if len(data) >= start + checked:
            self._text_from = 0
        if len(data) <= start:
            return False
        beginning = unmask(data, start, min(len(data) - start, checked))
        try:
            codecs.utf_8_decode(beginning, "strict", False)
        except UnicodeDecodeError:
            return True
        return False

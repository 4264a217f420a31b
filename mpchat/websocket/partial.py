"""A frame that has begun and has not arrived whole.

Rules. Its bytes are collected in parts. A large one gets a buffer that the rest is read into (see bulk),
but an announced length alone reserves no memory. Text is refused at its first wrong byte, also in a frame
that trickles.
"""

from __future__ import annotations

import codecs
import ctypes

from mpchat.websocket.parts import Parts
from mpchat.websocket.payload import unmask
from mpchat.websocket.thresholds import Thresholds


class Partial:
    """One such frame, header included.

    Attributes:
        rest: Where the next bytes have to be put, for ``fill``; None if they are for ``add``.
    """

    __slots__ = ("_buffer", "_missing", "_parts", "_text_from", "_thresholds", "rest")

    def __init__(
        self,
        beginning: bytes | memoryview,
        size: int,
        text_from: int,
        may_buffer: bool,
        thresholds: Thresholds,
    ) -> None:
        """``size`` is that of the frame; ``text_from`` is where its text begins, 0 if it has none."""
        there = len(beginning)
        self._thresholds = thresholds
        self._missing = size - there
        self._text_from = text_from
        self._buffer: memoryview | None = None
        self._parts: Parts[bytes] | None = None
        self.rest: memoryview | None = None
        is_large = self._missing >= thresholds.buffered_payload
        if may_buffer and is_large and there * thresholds.buffered_part >= size:
            self._buffer = memoryview(_bytearray(None, size + thresholds.buffer_slack))
            self._buffer[:there] = beginning
            self.rest = self._buffer[there:]
        else:
            self._parts = Parts(b"", thresholds.joined_parts)
            self._parts.add(bytes(beginning))

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
        return self._parts.join() if self._missing <= 0 else None

    def fill(self, count: int) -> memoryview | None:
        """So many bytes have been put into ``rest``; return what ``add`` does."""
        buffer, rest = self._buffer, self.rest
        if buffer is None or rest is None:
            return None
        self._missing -= count
        if self._missing > 0:
            self.rest = rest[count:]
            return None
        return buffer[: len(buffer) - self._thresholds.buffer_slack - self._missing]

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


# bytearray(size) would fill it with zeros: a tenth of the echo of 64 KiB.
_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_bytearray.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)
_bytearray.restype = ctypes.py_object

"""The loops over a payload: out of a client's frame, and into one of ours (RFC 6455, section 5).

``payload.pyx`` has the same functions for the compiled form, and a test compares them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import cast

from websockets import utils

from mpchat.websocket.frames import FINAL, frame_header

Mask = Callable[[bytes | memoryview, bytes | memoryview], bytes]
try:
    from websockets import speedups

    _apply_mask = cast(Mask, speedups.apply_mask)
except ImportError:  # no compiler where websockets was built

    def _apply_mask(data: bytes | memoryview, mask: bytes | memoryview) -> bytes:
        return utils.apply_mask(bytes(data), bytes(mask))


_SHORT = [
    [frame_header(first & ~FINAL, length, final=first >= FINAL) for length in range(126)]
    for first in range(256)
]
# From here on, a view costs less than a copy.
_LARGE = 4096


def frame_buffer(size: int) -> memoryview:
    """Return writable memory for a whole frame, to be given to ``unmask`` as it is."""
    return memoryview(_bytearray(None, size))


def unmask(data: bytes | memoryview, start: int, length: int) -> bytes:
    """Return the payload of a frame, which begins at ``start``, behind the four bytes of its mask.

    If ``data`` is a ``frame_buffer`` that the payload fills, it is of no use afterwards.
    """
    stop = start + length
    masked = data[start:stop] if length < _LARGE else memoryview(data)[start:stop]
    return _apply_mask(masked, data[start - 4 : start])


def unmask_text(data: bytes | memoryview, start: int, length: int) -> str:
    """Return the same as text.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return unmask(data, start, length).decode()


def framed(first: int, payload: bytes) -> bytes:
    """Return an unmasked frame; ``first`` is the first byte of its header."""
    length = len(payload)
    if length < 126:
        return _SHORT[first][length] + payload
    return frame_header(first & ~FINAL, length, final=first >= FINAL) + payload


# bytearray(size) would fill it with zeros: a tenth of the echo of 64 KiB.
_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_bytearray.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)
_bytearray.restype = ctypes.py_object

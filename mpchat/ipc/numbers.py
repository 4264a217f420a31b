"""Numbers within bytes, little endian: see numbers.pyx, which has the same functions in C.

Rules. Bytes that are not there raise IndexError.
"""

from __future__ import annotations

import struct
from typing import Final

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


def u32_at(data: bytes, at: int) -> int:
    """Return the number in the four bytes from ``at`` on."""
    if not 0 <= at <= len(data) - 4:
        raise IndexError("the number is not within the data")
    number: int = _U32.unpack_from(data, at)[0]
    return number


def u64_at(data: bytes, at: int) -> int:
    """Return the number in the eight bytes from ``at`` on."""
    if not 0 <= at <= len(data) - 8:
        raise IndexError("the number is not within the data")
    number: int = _U64.unpack_from(data, at)[0]
    return number

"""Where the records of a TLS stream begin and end, which their headers say in plain."""

from __future__ import annotations

HEADER = 5
"""Bytes of a header, the last two of which are the length of what follows."""
RECORD = 16 * 1024
"""The most data in a record; encrypted it is a little longer."""
PIECE = 5 * RECORD
"""Bytes that are encrypted or decrypted at a time: a message of 64 KiB with its header is one piece."""
_MARK = 1 << 8 * HEADER
"""What a whole header is behind the 1 that leads it."""


class Records:
    """One direction of a connection.

    Attributes:
        whole: Records that were ended by what ``measure`` has last looked at.
    """

    __slots__ = ("_header", "_left", "whole")

    def __init__(self) -> None:
        # Bytes of the present record that are missing, and those of the present header that have come,
        # behind a 1.
        self._left = 0
        self._header = 1
        self.whole = 0

    def measure(self, data: bytes, start: int, most: int, records: int) -> int:
        """Return the end of a piece of ``data``: at most so many bytes, and so many ends of records.

        What is measured has to be fed, and the next piece begins at its end.
        """
        at, size = start, min(len(data), start + most)
        left, whole = self._left, 0
        while at < size and whole < records:
            if left:
                if left > size - at:
                    left -= size - at
                    at = size
                    break
                at += left
                left = 0
                whole += 1
                continue
            if self._header == 1 and size - at >= 5:
                left = data[at + 3] << 8 | data[at + 4]
                at += 5
            else:
                self._header = self._header << 8 | data[at]
                at += 1
                if self._header < _MARK:
                    continue
                left = self._header & 0xFFFF
                self._header = 1
            if not left:
                whole += 1
        self._left, self.whole = left, whole
        return at

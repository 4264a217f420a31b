"""The history's file: segments of one size, each with a header, records, and a footer.

The log is endless, and its places are counted in bytes for ever: segment ``offset // size`` lies in slot
``number % slots`` of the file, until a later lap takes that slot.

    Header    At the segment's start: what the log is, where the segment before ended, and its CRC
    Records   As in mpchat/ipc/records.py; the CRC of the first continues the header's
    Footer    Behind the last record of a full segment: each of its rooms with its last offset; its CRC
              continues that of the last record

Rules. Headers and footers are checked before anything in them is used. A broker that dies while writing
leaves the beginning of what it wrote, since the kernel copies in order. Anything else that does not fit
is damage.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from mpchat.errors import MpchatError
from mpchat.ipc.records import CRC, LONGEST_NAME
from mpchat.linux import system

_MAGIC, _CONDEMNED = b"mpc1", b"gone"
_HEADER = struct.Struct("<4sII12sQQQQII")
_FOOTER = struct.Struct("<IBxxxI")
_ENTRY = struct.Struct("<QB")
HEADER_SIZE = _HEADER.size
FOOTER_SIZE = _FOOTER.size + CRC.size
"""Bytes of a footer without rooms"""
ENTRY_SIZE = _ENTRY.size
"""Bytes of a room in the footer, beside its name"""
FOOTER = 3
"""The footer's kind, where a record has MESSAGE or CLOSED"""

SMALLEST, LARGEST = 256 << 10, 1 << 20
"""Bytes of a segment"""
FEWEST = 4
"""Slots of a file"""


class Damaged(MpchatError):
    """The file holds what no death of a broker can have left.

    Attributes:
        number: No segment of the file has a higher number.
    """

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


class Header(NamedTuple):
    """A segment's header.

    Attributes:
        epoch: 12 random bytes.
        number: The segment's.
        first: The first segment of the epoch.
        end: Where the records of the segment before ended.
        chain: The CRC of its last record, or of its header if it had none.
        born: When the segment was begun, in milliseconds of the monotonic clock.
        crc: The header's own.
        condemned: A reader found damage: nothing of this epoch is to be used.
    """

    epoch: bytes
    number: int
    first: int
    end: int
    chain: int
    born: int
    crc: int = 0
    condemned: bool = False


def segment_size(file_size: int) -> int:
    """Return the bytes of a segment in a file of this size: a pause to begin one must be short."""
    return min(max(SMALLEST, file_size // 64), LARGEST)


class Segments:
    """The file, by places of the log.

    Attributes:
        size: Bytes of a segment.
        largest: Bytes of the largest record that fits into any segment.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size
        self.slots = system.fstat(descriptor).st_size // size
        if self.slots < FEWEST:
            raise ValueError(f"a history needs {FEWEST} segments of {size} bytes, not {self.slots}")
        self._newest = 0, b""
        self.largest = size - HEADER_SIZE - FOOTER_SIZE - ENTRY_SIZE - LONGEST_NAME

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of one segment.

        Raises:
            OSError: The system cannot read them.
        """
        size = self.size
        place = offset // size % self.slots * size + offset % size
        return system.pread(self._descriptor, count, place)

    def write(self, offset: int, content: bytes) -> None:
        """Write bytes of one segment, at once.

        Raises:
            OSError: The system has not taken all of them.
        """
        size = self.size
        place = offset // size % self.slots * size + offset % size
        written = system.pwrite(self._descriptor, content, place)
        if written != len(content):
            raise OSError(errno.EIO, f"of {len(content)} bytes {written} were written")

    def segment(self, number: int) -> bytes:
        """Return all bytes of the slot of this segment."""
        return self.read(number * self.size, self.size)

    def enter(self, header: Header) -> bytes:
        """Have this segment be the newest, and return its header's bytes; the last four are its CRC."""
        packed = _HEADER.pack(
            _MAGIC,
            self.slots,
            self.size,
            header.epoch,
            header.number,
            header.first,
            header.end,
            header.born,
            header.chain,
            0,
        )[: -CRC.size]
        self._newest = header.number, packed + CRC.pack(crc32(packed))
        return self._newest[1]

    def damaged(self, text: str) -> Damaged:
        """Return the error of a reader, and mark the newest segment: the next recovery begins anew.

        Raises:
            OSError: The system cannot write the mark.
        """
        number, packed = self._newest
        self.write(number * self.size, _CONDEMNED + packed[len(_CONDEMNED) :])
        return Damaged(text, number)

    def header(self, number: int) -> Header | None:
        """Return the header in the slot of this segment, be it another one's; None: there is none."""
        parsed = _parse(self.read(number * self.size, HEADER_SIZE))
        if parsed is None:
            return None
        slots, size, header = parsed
        fits = (slots, size, header.number % slots) == (self.slots, self.size, number % slots)
        return header if fits else None

    def headers(self) -> dict[int, Header]:
        """Return the headers in the file, of all epochs, by number.

        Raises:
            Damaged: The newest one is of a log with segments of another size.
        """
        found = {}
        for slot in range(self.slots):
            header = self.header(slot)
            if header is not None:
                found[header.number] = header
        born = max((header.born for header in found.values()), default=-1)
        for slot in range(self.slots):
            slots, size, header = _parse(self.read(slot * self.size, HEADER_SIZE)) or (0, 0, None)
            if (
                header is not None
                and header.born > born
                and (slots, size) != (self.slots, self.size)
            ):
                # Numbers of such segments are not comparable, places are.
                number = (header.number + slots) * size // self.size
                raise Damaged("it was written with segments of another size", number)
        return found

    def footer(self, number: int, end: int, chain: int) -> list[tuple[bytes, int]] | None:
        """Return the rooms of a full segment with their last offsets; None: the footer is no such thing.

        ``end`` and ``chain`` are what the header of the next segment says.
        """
        if end // self.size != number or end % self.size > self.size - FOOTER_SIZE:
            return None
        content = self.read(end, self.size - end % self.size)
        size, kind, count = _FOOTER.unpack_from(content)
        if kind != FOOTER or not FOOTER_SIZE <= size <= len(content):
            return None
        body = content[: size - CRC.size]
        if CRC.unpack_from(content, len(body))[0] != crc32(body, chain):
            return None
        rooms = []
        place = _FOOTER.size
        for _ in range(count):
            last, length = _ENTRY.unpack_from(body, place)
            place += ENTRY_SIZE + length
            rooms.append((body[place - length : place], last))
        return rooms


def _parse(packed: bytes) -> tuple[int, int, Header] | None:
    """Return slots and size that a header names, and the header; None: these bytes are none."""
    magic, slots, size, epoch, number, first, end, born, chain, crc = _HEADER.unpack(packed)
    body = _MAGIC + packed[len(_MAGIC) : -CRC.size]
    if magic not in {_MAGIC, _CONDEMNED} or crc32(body) != crc:
        return None
    header = Header(epoch, number, first, end, chain, born, crc, magic == _CONDEMNED)
    return slots, size, header


def pack_footer(rooms: Iterable[tuple[bytes, int]], chain: int) -> bytes:
    """Return a footer's bytes; ``chain`` is the CRC of the segment's last record."""
    entries = [_ENTRY.pack(last, len(name)) + name for name, last in rooms]
    body = b"".join(entries)
    head = _FOOTER.pack(FOOTER_SIZE + len(body), FOOTER, len(entries))
    return head + body + CRC.pack(crc32(body, crc32(head, chain)))

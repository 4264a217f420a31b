"""The body of a request as it arrives, by RFC 9112, sections 6.2 and 7.1. Pure.

Rules. A byte that cannot belong to a chunked body is an error at once, since whoever reads on would take
the rest for another request than a proxy in front does. What is not content has limits of its own: chunk
extensions and trailers are checked and dropped. A body is decoded a number of chunks at a time, since
each chunk takes the time of many bytes.
"""

from __future__ import annotations

import enum
import re
from http import HTTPStatus

from mpchat.http.errors import HttpError, bad_request
from mpchat.http.grammar import BARE_END, FIELD_LINES, TCHAR

CHUNKS_AT_A_TIME = 64
MAX_EXTENSIONS = 4096
"""Bytes of all chunk extensions of one body."""
MAX_TRAILERS = 8192
"""Bytes of a trailer section."""
_MAX_DIGITS = 16

_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION = rf"[ \t]*+;[ \t]*+{TCHAR}++(?:[ \t]*+=[ \t]*+(?:{TCHAR}++|{_QUOTED}))?+"
_CHUNK = re.compile(rf"([0-9A-Fa-f]{{1,{_MAX_DIGITS}}})((?:{_EXTENSION})*+)".encode("latin-1"))
_CHUNK_BEGINNING = re.compile(rb"[0-9A-Fa-f]{0,%d}(?:[ \t;][^\r\n]*)?\r?" % _MAX_DIGITS)


class _Part(enum.Enum):
    """What comes next in a chunked body."""

    SIZE = enum.auto()
    DATA = enum.auto()
    END = enum.auto()
    """The line end behind a chunk's data"""
    TRAILERS = enum.auto()


class SizedBody:
    """A body of a known length.

    Attributes:
        content: The content so far.
        is_behind: Whether ``take`` has left bytes that it could have taken; here never.
    """

    __slots__ = ("_left", "content")

    is_behind = False

    def __init__(self, length: int) -> None:
        self.content = bytearray()
        self._left = length

    def take(self, data: bytearray) -> bool:
        """Move bytes from ``data`` to the body; return whether the body is whole."""
        part = data[: self._left]
        del data[: self._left]
        self.content += part
        self._left -= len(part)
        return not self._left


class ChunkedBody:
    """A body in chunks, with at most ``most`` bytes of content.

    Attributes:
        content: The content so far.
        is_behind: Whether ``take`` has left bytes that it could have taken.
    """

    __slots__ = ("_extensions", "_left", "_most", "_part", "content", "is_behind")

    def __init__(self, most: int) -> None:
        self.content = bytearray()
        self.is_behind = False
        self._most = most
        self._part = _Part.SIZE
        self._left = 0
        """Bytes of the present chunk that are to come"""
        self._extensions = 0

    def take(self, data: bytearray) -> bool:
        """Move bytes from ``data`` to the body; return whether the body is whole.

        Raises:
            HttpError: 400, these are not chunks; 413, too much content; 431, too large trailers.
        """
        at = taken = 0
        is_whole = self.is_behind = False
        while True:
            before = at
            if self._part is _Part.SIZE:
                if taken == CHUNKS_AT_A_TIME:
                    self.is_behind = at < len(data)
                    break
                taken += 1
                at = self._take_size(data, at)
            elif self._part is _Part.DATA:
                at = self._take_data(data, at)
            elif self._part is _Part.END:
                at = self._take_end(data, at)
            else:
                at, is_whole = _skip_trailers(data, at)
                break
            if at == before:
                break
        del data[:at]
        return is_whole

    def _take_size(self, data: bytearray, at: int) -> int:
        end = data.find(b"\r\n", at)
        # Without an end, the line may still grow as far as its limit.
        longest = at + _MAX_DIGITS + MAX_EXTENSIONS - self._extensions
        if end > longest or (end < 0 and len(data) > longest + 1):
            raise bad_request("too long chunk extensions")
        if end < 0:
            if _CHUNK_BEGINNING.fullmatch(data, at) is None:
                raise bad_request("malformed chunk size")
            return at
        found = _CHUNK.fullmatch(data, at, end)
        if found is None:
            raise bad_request("malformed chunk size")
        self._extensions += len(found[2])
        self._left = int(found[1], 16)
        if len(self.content) + self._left > self._most:
            raise too_large()
        self._part = _Part.DATA if self._left else _Part.TRAILERS
        return end + 2

    def _take_data(self, data: bytearray, at: int) -> int:
        part = data[at : at + self._left]
        self.content += part
        self._left -= len(part)
        if not self._left:
            self._part = _Part.END
        return at + len(part)

    def _take_end(self, data: bytearray, at: int) -> int:
        end = data[at : at + 2]
        if end == b"\r\n":
            self._part = _Part.SIZE
            return at + 2
        if not b"\r\n".startswith(end):
            raise bad_request("a chunk is longer than its size")
        return at


def _skip_trailers(data: bytearray, at: int) -> tuple[int, bool]:
    """Return the end of the trailer section and whether it has come."""
    if data.startswith(b"\r\n", at):
        return at + 2, True
    end = data.find(b"\r\n\r\n", at)
    is_large = (len(data) if end < 0 else end) - at > MAX_TRAILERS
    if end < 0 or is_large:
        # First and within the limit, so that the status does not depend on the pieces.
        if BARE_END.search(data, at, at + MAX_TRAILERS + 1) is not None:
            raise bad_request("lines end with CR and LF")
        if is_large:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise HttpError(status, "the trailers are too large")
        return at, False
    if FIELD_LINES.fullmatch(data[at : end + 2].decode("latin-1")) is None:
        raise bad_request("malformed trailer")
    return end + 4, True


def too_large() -> HttpError:
    """Return a 413."""
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")

"""Byte streams of clients, good and bad, drawn from a seeded generator.

Nothing here knows the parser or ``websockets``: frames are built from RFC 6455 alone, so that neither
side's mistakes are built in. Streams are short, since every cut of each is tried; what needs size
(lengths of two and eight bytes, messages near the limit) comes less often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.kit.frames import BINARY, CLOSE, CONT, FINAL, PING, PONG, TEXT, frame


@dataclass(frozen=True)
class Stream:
    """What one client sends, and the size that its messages may have."""

    data: bytes
    limit: int
    takeover: bool | None = None
    """Whether its compressed messages may refer to earlier ones; None without compression"""


@dataclass(frozen=True)
class Header:
    """Where a frame of a stream begins and ends, as its header says."""

    start: int
    first: int
    length: int
    stop: int


def frames(data: bytes) -> list[Header]:
    """Return the frames whose length is known; the last one may not be there to its end."""
    found: list[Header] = []
    start = 0
    while start + 2 <= len(data):
        length = data[start + 1] & 0x7F
        body = start + 2
        if length >= 126:
            body += 2 if length == 126 else 8
            if body > len(data):
                break
            length = int.from_bytes(data[start + 2 : body])
        stop = body + (4 if data[start + 1] & 0x80 else 0) + length
        found.append(Header(start, data[start], length, stop))
        start = stop
    return found


_LETTERS = "az09 \x00\x7f\x80\xe9\u07ff\u0800\u20ac\ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff"
_NO_TEXT = (
    b"\x80",
    b"\xc3",
    b"\xc3\x28",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xff",
)
"""No UTF-8, each for another reason (RFC 3629): lone, cut off, overlong, surrogate, beyond the last"""
_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999)
_NO_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
_NO_OPCODES = (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)
_LIMITS = (125, 125, 1000, 70_000)


class Source:
    """Draws streams; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def draw(self) -> Stream:
        """Return one stream: some good parts, mostly a bad or a last one, then cut off or mutated."""
        random = self._random
        limit = random.choice(_LIMITS)
        parts = [self._good(limit) for _ in range(random.choice((0, 1, 1, 2)))]
        if random.random() < 0.6:
            end: Callable[[int], bytes] = random.choice(
                (self._close, self._bad_close, self._bad_header, self._bad_text, self._too_big)
            )
            parts.append(end(limit))
            if random.random() < 0.4:
                parts.append(self._good(limit))
        data = b"".join(parts)
        if random.random() < 0.15:
            data = data[: random.randrange(len(data) + 1)]
        if random.random() < 0.25:
            data = self._mutated(data)
        return Stream(data, limit)

    # Parts that break no rule

    def _good(self, limit: int) -> bytes:
        whole = self._whole
        draw = self._random.choice((whole, whole, whole, self._fragmented, self._control))
        return draw(limit)

    def _whole(self, limit: int) -> bytes:
        random = self._random
        kind, payload = self._message(limit)
        return self._frame(FINAL | kind, payload, width=random.choice((0, 0, 0, 2, 8)))

    def _message(self, limit: int) -> tuple[int, bytes]:
        random = self._random
        size = min(limit, self._size(limit))
        if random.random() < 0.5:
            return BINARY, random.randbytes(size)
        # Cut to size, which may be inside a letter.
        text = "".join(random.choices(_LETTERS, k=min(size, 200))).encode()[:size]
        return TEXT, text.decode(errors="ignore").encode().ljust(size)

    def _size(self, limit: int) -> int:
        random = self._random
        kind = random.random()
        if kind < 0.85:
            return random.randrange(25)
        if kind < 0.98:
            return random.choice((124, 125, 126, 127, 128, 300))
        return random.choice((limit, 65535, 65536))

    def _frame(self, first: int, payload: bytes, width: int = 0) -> bytes:
        random = self._random
        mask = bytes(4) if random.random() < 0.1 else random.randbytes(4)
        return frame(first, payload, mask, width=width)

    def _control(self, _limit: int) -> bytes:
        random = self._random
        size = random.choice((0, 1, 4, 125)) if random.random() < 0.3 else random.randrange(5)
        return self._frame(FINAL | random.choice((PING, PONG)), random.randbytes(size))

    def _fragmented(self, limit: int) -> bytes:
        return self._fragments(*self._message(limit), limit)

    def _fragments(self, kind: int, payload: bytes, limit: int, *, ended: bool = True) -> bytes:
        """Return the message in several frames with control frames between."""
        random = self._random
        edges = sorted(random.randint(0, len(payload)) for _ in range(random.randint(1, 4)))
        pieces = [payload[start:stop] for start, stop in pairwise([0, *edges, len(payload)])]
        data = b""
        for number, piece in enumerate(pieces, 1):
            if number > 1 and random.random() < 0.3:
                data += self._control(limit)
            final = FINAL if ended and number == len(pieces) else 0
            data += self._frame(final | kind, piece)
            kind = CONT
        return data

    def _close(self, limit: int) -> bytes:
        """Return a Close, sometimes in the middle of a message, sometimes with more after it."""
        random = self._random
        begun = self._fragments(*self._message(limit // 2), limit, ended=False)
        payload = b""
        if random.random() < 0.8:
            payload = random.choice(_CODES).to_bytes(2)
            payload += "".join(random.choices(_LETTERS, k=random.choice((0, 3, 30)))).encode()
        return (begun if random.random() < 0.2 else b"") + self._frame(FINAL | CLOSE, payload)

    # Parts that break one

    def _bad_close(self, _limit: int) -> bytes:
        random = self._random
        payload = random.choice(
            (
                random.randbytes(1),
                random.choice(_NO_CODES).to_bytes(2) + b"why",
                random.choice(_CODES).to_bytes(2) + b"why" + random.choice(_NO_TEXT),
                random.choice(_CODES).to_bytes(2) + bytes(124),
            )
        )
        return self._frame(FINAL | CLOSE, payload)

    def _bad_header(self, limit: int) -> bytes:
        """Return a frame with a fault in its header, in a message or outside of one."""
        random = self._random
        size = self._size(20)
        payload = random.randbytes(size)
        data = bytearray(
            random.choice(
                (
                    self._frame(FINAL | random.choice(_NO_OPCODES), payload),
                    self._frame(random.choice((CLOSE, PING, PONG)), payload[:125]),
                    self._frame(FINAL | random.choice((PING, PONG)), random.randbytes(126)),
                    self._frame(random.choice((FINAL, 0)) | CONT, payload),
                    self._frame(random.choice((FINAL, 0)) | random.choice((TEXT, BINARY)), payload),
                )
            )
        )
        fault = random.random()
        if fault < 0.3:
            data[0] |= random.choice((0x10, 0x20, 0x40, 0x70))
        elif fault < 0.5:
            data[1] &= 0x7F
        in_message = random.random() < 0.5
        begun = self._fragments(*self._message(limit // 2), limit, ended=False)
        return (begun if in_message else b"") + bytes(data)

    def _bad_text(self, limit: int) -> bytes:
        random = self._random
        _kind, payload = self._message(limit // 2)
        payload = payload[:20].decode(errors="ignore").encode() + random.choice(_NO_TEXT)
        payload += random.choice((b"", b"", b"after", b"\xa9"))
        if random.random() < 0.4:
            return self._frame(FINAL | TEXT, payload)
        return self._fragments(TEXT, payload, limit, ended=random.random() < 0.7)

    def _too_big(self, limit: int) -> bytes:
        random = self._random
        kind = random.choice((TEXT, BINARY, CONT))
        length = limit + random.choice((1, 2, 300, 65536, 1 << 20, (1 << 63) - 1, 1 << 63))
        payload = bytes(random.randrange(20))
        if random.random() < 0.3 and length < 2000:
            payload = bytes(length)
        begun = b""
        if kind == CONT or random.random() < 0.3:
            begun = self._fragments(BINARY, bytes(min(limit, 30)), limit, ended=False)
            length = random.choice((limit, limit - min(limit, 30) + 1))
        return begun + frame(random.choice((FINAL, 0)) | kind, payload, length=length)

    def _mutated(self, data: bytes) -> bytes:
        """Return the bytes with one to three of them changed, lost, added or doubled."""
        random = self._random
        changed = bytearray(data)
        for _ in range(random.randint(1, 3)):
            # Headers are where it matters; they are a small part of a long stream.
            place = random.randrange(min(len(changed), random.choice((16, 200))) + 1)
            kind = random.randrange(5)
            if kind == 0:
                changed[place : place + 1] = random.randbytes(1)
            elif kind == 1 and place < len(changed):
                changed[place] ^= 1 << random.randrange(8)
            elif kind == 2:
                del changed[place : place + random.randint(1, 3)]
            elif kind == 3:
                changed[place:place] = random.randbytes(random.randint(1, 2))
            else:
                changed[place:place] = changed[place : place + random.randint(1, 12)]
        return bytes(changed)

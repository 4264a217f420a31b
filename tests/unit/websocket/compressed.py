"""Byte streams of clients that compress, good and bad, drawn as those of ``streams`` are.

They break rules of RFC 7692 (section 6) and those that it shares with RFC 6455. Nothing is cut off or
mutated within compressed data: what ``websockets`` makes of the rest of such a stream depends on how its
zlib was left behind. Nor is there a final block (section 7.2.3.4), after which it reads nothing more, or
a message of nearly the largest size, which it may refuse; test_deflate has those.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from random import Random

from tests.kit.frames import BINARY, CONT, FINAL, PING, PONG, TEXT, frame
from tests.unit.websocket.streams import Stream

RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
BITS = 10
"""Of the window; small, so that messages pass it."""
_END = b"\x00\x00\xff\xff"
_LIMITS = (300, 1000, 70_000)
_NO_TEXT = (b"\x80", b"\xc3\x28", b"\xed\xa0\x80", b"\xff")
_LETTERS = "etaoin shrdlu äß€😀"


class CompressedSource:
    """Draws streams; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._takeover = True
        self._limit = 0
        self._deflater = zlib.compressobj(wbits=-BITS)

    def draw(self) -> Stream:
        """Return one stream: good parts, often a bad one, then perhaps a good one."""
        random = self._random
        self._limit = random.choice(_LIMITS)
        self._takeover = random.random() < 0.5
        self._deflater = zlib.compressobj(wbits=-BITS)
        parts = [self._good() for _ in range(random.choice((0, 1, 2, 3)))]
        if random.random() < 0.6:
            bad: Callable[[], bytes] = random.choice(
                (self._bad_bits, self._bad_data, self._bad_text, self._too_big)
            )
            parts += [bad(), self._good()]
        return Stream(b"".join(parts), self._limit, self._takeover)

    def _deflate(self, pieces: Iterable[bytes]) -> list[bytes]:
        """Return the compressed form of one message, cut where a piece ends and so does a block."""
        if not self._takeover:
            self._deflater = zlib.compressobj(wbits=-BITS)
        deflater = self._deflater
        # zlib flushes nothing twice; an empty message is an empty block (RFC 7692, section 7.2.3.6).
        found = [
            deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH)
            for piece in pieces
            if piece
        ]
        return [*found[:-1], found[-1].removesuffix(_END)] if found else [b"\x00"]

    def _frame(self, first: int, payload: bytes) -> bytes:
        return frame(first, payload, self._random.randbytes(4))

    def _control(self) -> bytes:
        random = self._random
        return self._frame(
            FINAL | random.choice((PING, PONG)), random.randbytes(random.randrange(5))
        )

    def _payload(self, size: int) -> tuple[int, bytes]:
        random = self._random
        if random.random() < 0.5:
            block = random.randbytes(random.choice((1, 7, 60)))
            return BINARY, (block * (size // len(block) + 1))[:size]
        text = "".join(random.choices(_LETTERS, k=size)).encode()[:size]
        return TEXT, text.decode(errors="ignore").encode()

    def _pieces(self, payload: bytes) -> Iterator[bytes]:
        random = self._random
        edges = sorted(random.randint(0, len(payload)) for _ in range(random.choice((0, 0, 1, 3))))
        for start, stop in pairwise([0, *edges, len(payload)]):
            yield payload[start:stop]

    def _message(self, kind: int, payload: bytes, *, compressed: bool, ended: bool = True) -> bytes:
        pieces = list(self._pieces(payload))
        if compressed:
            # Cut anew: a frame may end anywhere in the compressed data.
            pieces = list(self._pieces(b"".join(self._deflate(pieces))))
        return self._frames(kind | RSV1 if compressed else kind, pieces, ended=ended)

    def _frames(self, first: int, pieces: list[bytes], *, ended: bool) -> bytes:
        random = self._random
        data = b""
        for number, piece in enumerate(pieces, 1):
            if number > 1 and random.random() < 0.3:
                data += self._control()
            data += self._frame((FINAL if ended and number == len(pieces) else 0) | first, piece)
            first = CONT
        return data

    def _good(self) -> bytes:
        random = self._random
        if random.random() < 0.15:
            return self._control()
        most = self._limit // 3
        kind, payload = self._payload(min(random.choice((0, 1, 20, 60, 200, most)), most))
        return self._message(kind, payload, compressed=random.random() < 0.8)

    def _bad_bits(self) -> bytes:
        """Return reserved bits where none may be, or others than RSV1."""
        random = self._random
        kind, payload = self._payload(20)
        begun = self._message(kind, payload, compressed=random.random() < 0.7, ended=False)
        return random.choice(
            (
                begun + self._frame(FINAL | RSV1 | CONT, b"\x00"),
                self._frame(FINAL | RSV1 | random.choice((PING, PONG)), b"\x00"),
                begun + self._frame(FINAL | RSV1 | PING, b""),
                self._frame(FINAL | random.choice((RSV1, 0)) | RSV2 | kind, b"\x00"),
                self._frame(FINAL | random.choice((RSV1, 0)) | RSV3 | kind, b"\x00"),
                begun + self._frame(FINAL | RSV1 | kind, b"\x00"),
            )
        )

    def _bad_data(self) -> bytes:
        """Return a block of no type, a broken stored one, or one that refers to before the beginning."""
        wrong = [b"\x06\x00\x00", b"\xfe", b"\x00\x05\x00\x00\x00a"]
        if not self._takeover:
            wrong.append(b"\x02\x13\x00")
        return self._frame(FINAL | RSV1 | BINARY, self._random.choice(wrong))

    def _bad_text(self) -> bytes:
        """Return text that is no UTF-8; frames end with blocks, so that the message could end there."""
        _kind, payload = self._payload(20)
        text = payload.decode(errors="ignore").encode() + self._random.choice(_NO_TEXT) + b"after"
        pieces = self._deflate(self._pieces(text))
        return self._frames(TEXT | RSV1, pieces, ended=self._random.random() < 0.7)

    def _too_big(self) -> bytes:
        size = self._limit + self._random.choice((1, 2, 300, 200_000))
        return self._frame(FINAL | RSV1 | BINARY, b"".join(self._deflate([bytes(size)])))

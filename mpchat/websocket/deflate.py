"""permessage-deflate (RFC 7692): inflates the payloads of a client, and deflates ours.

Rules. Between two messages a connection keeps plain bytes only: the end of what was sent and of what was
received, as far as the agreed windows reach, and nothing without context takeover. Size and time are
limited while a frame is inflated, not afterwards: it is inflated in steps.

Theory of operation. zlib's streams take 11 KiB (inflate) and 32 KiB (deflate) with windows of 12 bits, 40
and 256 KiB with 15, for as long as they live. But one message passes nothing to the next except the
window, so each message gets a stream of its own, with the window as its dictionary. That costs a few
microseconds, and an idle connection keeps a tenth of the memory.

The standard library's zlib inflates, as fast as any library for small messages. Deflating costs four to
ten times as much; ISA-L (``isal``) does it in a fifth of zlib's time, and its output is as small as that
of zlib's fastest level.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from isal import isal_zlib

from mpchat.websocket.thresholds import Thresholds

_END = b"\x00\x00\xff\xff"
"""What the end of each message leaves out (RFC 7692, section 7.2.1)."""
_LEVEL = 1
_KEPT_FRAME = 64
"""Bytes that a frame takes to be kept, however short it is."""


class TooLarge(Exception):
    """A message inflates to more than is allowed."""


class CorruptData(Exception):
    """The data cannot be inflated."""


@dataclass(frozen=True)
class Agreement:
    """What a handshake settled (RFC 7692, section 7.1).

    Attributes:
        client_bits, server_bits: How far back each side's compressed data may refer, as a power of two.
        client_takeover, server_takeover: Whether it may refer to earlier messages.
    """

    client_bits: int
    server_bits: int
    client_takeover: bool
    server_takeover: bool


def longest_deflated(size: int) -> int:
    """Return how long the compressed form of a message of this size may be.

    Codes that do not fit the data make nine bits of eight, and blocks have headers (zlib's
    ``deflateBound``); a client that needs more only keeps us busy.
    """
    return size + (size >> 3) + (size >> 6) + 64


@dataclass(slots=True)
class Replay:
    """The compressed frames of a message that has begun, and the window from before it.

    Only from that window they inflate to the same: from a later one, to wrong bytes and no error.
    """

    window: bytes
    frames: list[bytes]
    size: int = 0
    """Bytes of memory that they take"""


class Inflater:
    """A client's messages; holds no more than a window between them.

    Attributes:
        window: The end of what was inflated, as far as later data may refer to it.
        replay: What the message that has begun can be inflated from again; None between messages, and
            for a message of more than ``max_replayed`` bytes.
        is_busy: ``inflate`` has to be called again before the next frame begins.
    """

    __slots__ = (
        "_at",
        "_bits",
        "_final",
        "_is_within",
        "_payload",
        "_stream",
        "_streams",
        "_takeover",
        "_thresholds",
        "is_busy",
        "replay",
        "window",
    )

    def __init__(self, agreement: Agreement, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._bits = agreement.client_bits
        self._takeover = agreement.client_takeover
        self.window = b""
        # Only within a message.
        self._is_within = False
        self.replay: Replay | None = None
        self._stream: zlib._Decompress | None = None
        self._payload = b""
        # So much of it has gone in, and so many streams have ended in it.
        self._at = self._streams = 0
        self._final = self.is_busy = False

    def begin(self, payload: bytes, final: bool) -> None:
        """Take a frame: the first one begins a message, ``final`` ends it."""
        self._payload = payload + _END if final else payload
        self._at = self._streams = 0
        self._final = final
        self.is_busy = True
        if not self._is_within:
            self._is_within = True
            self.replay = Replay(self.window, [])
        if self.replay is not None:
            self.replay.frames.append(payload)
            self.replay.size += len(payload) + _KEPT_FRAME
            if self.replay.size > self._thresholds.max_replayed:
                self.replay = None

    def inflate(self, limit: int) -> bytes:
        """Return the next part of what the frame holds.

        Raises:
            TooLarge: There are more than ``limit`` bytes.
            CorruptData: It cannot be inflated.
        """
        stream = self._stream
        if stream is None:
            stream = self._stream = zlib.decompressobj(-self._bits, self.window)
        # One byte more than allowed shows that it is too large; 0 would mean without limit.
        step = self._thresholds.inflate_step
        most = min(limit + 1, step)
        data = self._payload[self._at : self._at + step]
        try:
            part = stream.decompress(data, most)
        except zlib.error as error:
            raise CorruptData(str(error)) from error
        if len(part) > limit:
            raise TooLarge
        self.window = _newest(self.window, part, self._bits)
        if stream.eof:
            self._at += len(data) - len(stream.unused_data)
            self._stream = None
            self._streams += 1
            if self._streams == self._thresholds.max_streams:
                raise CorruptData("too many final blocks")
            return part
        self._at += len(data) - len(stream.unconsumed_tail)
        self.is_busy = len(part) == most or self._at < len(self._payload)
        if not self.is_busy:
            self._end_frame()
        return part

    def _end_frame(self) -> None:
        self._payload = b""
        if self._final:
            self._stream = self.replay = None
            self._is_within = False
            if not self._takeover:
                self.window = b""


class Deflater:
    """Our messages; holds no more than a window between them.

    Attributes:
        bits: How far back compressed data may refer, as a power of two.
        takeover: Whether it may refer to earlier messages. If not, all with these bits compress alike.
        window: The end of what was sent.
    """

    __slots__ = ("_min_size", "bits", "takeover", "window")

    def __init__(self, agreement: Agreement, thresholds: Thresholds) -> None:
        self._min_size = thresholds.min_deflated
        self.bits = agreement.server_bits
        self.takeover = agreement.server_takeover
        self.window = b""

    def deflate(self, payload: bytes) -> bytes | None:
        """Return a message's compressed payload; None if it is to be sent as it is.

        That is so when it is small or does not shrink; the client's window then stays as it was.
        """
        if len(payload) < self._min_size:
            return None
        stream = isal_zlib.compressobj(_LEVEL, wbits=-self.bits, zdict=self.window)
        deflated = stream.compress(payload) + stream.flush(isal_zlib.Z_SYNC_FLUSH)
        if len(deflated) - len(_END) >= len(payload):
            return None
        if self.takeover:
            self.window = _newest(self.window, payload, self.bits)
        return deflated[: -len(_END)]


def _newest(window: bytes, data: bytes, bits: int) -> bytes:
    """Return the window after ``data`` has passed through it."""
    size = 1 << bits
    if len(data) < size:
        data = window + data
    return data[-size:] if len(data) > size else data

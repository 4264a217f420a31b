"""Bytes from a client become messages: every frame border is decided here (RFC 6455, section 5).

Rules. No asyncio, no input or output: ``feed`` takes bytes and adds messages. Parsing is lazy: it stops
after so many frames, or when the budget of all is spent, also within a message that is being inflated.
What it has not looked at stays in the backlog, so a client cannot make us build more than somebody takes.

Theory of operation. Nearly all traffic is whole, final, masked text and binary frames: those are decoded
inline with the C mask of ``websockets``, one that is a whole read before all others. Sizes are checked
at the header, before a byte of the payload is kept. Bytes of a frame that has not arrived whole are
collected in parts; for a large one there is a buffer that the rest may be read into (see bulk). Fragments
and compressed messages are left to ``assembly``. ``websockets`` decides what a Close may say. After a
Close or a mistake everything further is ignored. An idle connection holds no list: what is rare begins
as an empty tuple.
"""

from __future__ import annotations

import codecs
import ctypes
from collections.abc import Callable
from typing import cast

from websockets import utils
from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.assembly import Assembly, Message, Refused
from mpchat.websocket.budget import FRAME, INFLATED_BYTE, INFLATED_FRAME, Budget
from mpchat.websocket.deflate import Agreement, Inflater
from mpchat.websocket.frames import CLOSE, PING, PONG, Ending, close_frame, frame_header
from mpchat.websocket.headers import check_header, check_opening
from mpchat.websocket.parts import Parts

Mask = Callable[[bytes | memoryview, bytes | memoryview], bytes]
try:
    from websockets import speedups

    apply_mask = cast(Mask, speedups.apply_mask)
except ImportError:  # no compiler where websockets was built

    def apply_mask(data: bytes | memoryview, mask: bytes | memoryview) -> bytes:
        """Return the data with the mask applied, in Python."""
        return utils.apply_mask(bytes(data), bytes(mask))


_TEXT, _BINARY = 0x1, 0x2
_FINAL_TEXT, _FINAL_BINARY = 0x81, 0x82
_PLAIN = frozenset((_FINAL_TEXT, _FINAL_BINARY))
_COMPRESSED = 0x40
"""RSV1, which the first frame of a compressed message has (RFC 7692, section 6)."""
_CONTROL = 0x8
_LARGE = 4096
"""Bytes of a payload from which on a view of it is cheaper than a copy."""
_BULK = 16 * 1024
"""Bytes of a payload from which on it is worth it to have a frame read into a buffer of its own."""
_LEAST_PART = 16
"""Of a frame, one in so many bytes has to be there before it gets that buffer."""
_BEYOND = 1024
"""Bytes behind a large frame that are read with it: a read that has room left is known to be the last."""
_LOOKED_AT = 1024
"""Bytes at the beginning of a text that are checked before its frame is whole."""
_MOST_UNCOMMON = 256 * 1024
"""With that much waiting in large messages, others come first: a few bytes may inflate to so many."""


class Scanner:
    """One client's byte stream.

    Attributes:
        replies: Pong frames to send, one behind the other.
        pongs: Pongs that have arrived, in order: the number of messages before each, and its payload.
        closed: The client's Close, with the frame that answers it.
        failure: The mistake of the client, with the Close frame that tells it.
        received, received_bytes: Messages so far, and the bytes of their payloads; the worker's counters
            are kept as well.
        fragments: Frames so far that did not end their message.
        overhead: What keeps us busy and carries nothing, so far: control frames but pongs that answer our
            pings, and empty fragments but those that begin or end a message with something in it.
        pongs_due: Pings of ours that a pong may still answer.
        is_bulk: There was a large frame.
        has_control: Something of the above has to be looked at.
        has_buffers: Set by whoever reads what comes next into ``rest``, when there is one.
        rest: Where the next bytes have to be put, for ``add_rest``; None if they are for ``feed``.
        is_over: After the client's Close or a mistake nothing further is parsed.
    """

    __slots__ = (
        "_assembly",
        "_backlog",
        "_budget",
        "_chunks",
        "_counters",
        "_frame",
        "_inflater",
        "_is_dropping",
        "_is_inflating",
        "_max_size",
        "_missing",
        "_text_from",
        "closed",
        "failure",
        "fragments",
        "has_buffers",
        "has_control",
        "is_bulk",
        "is_over",
        "overhead",
        "pongs",
        "pongs_due",
        "received",
        "received_bytes",
        "replies",
        "rest",
    )

    def __init__(
        self,
        max_size: int,
        counters: Counters,
        budget: Budget,
        agreement: Agreement | None = None,
    ) -> None:
        self._max_size = max_size
        self._budget = budget
        self._inflater = Inflater(agreement) if agreement is not None else None
        self._counters = counters
        self.received = 0
        self.received_bytes = 0
        self._backlog: bytes = b""
        self._chunks: Parts[bytes] | None = None
        self._missing = 0
        self._frame: memoryview | None = None
        self.rest: memoryview | None = None
        self.is_bulk = self.has_buffers = False
        # Where its text begins, while that is to be looked at.
        self._text_from = 0
        self._assembly: Assembly | None = None
        self.replies = b""
        self.pongs: tuple[tuple[int, bytes], ...] = ()
        self.closed: Ending | None = None
        self.failure: Ending | None = None
        self._is_dropping = self._is_inflating = False
        self.fragments = 0
        self.overhead = self.pongs_due = 0
        self.has_control = False
        self.is_over = False

    @property
    def is_within_message(self) -> bool:
        """Whether a message or a frame has begun that has not ended."""
        begun = self._backlog or self._frame
        return bool(begun) or self._chunks is not None or self._assembly is not None

    @property
    def unparsed(self) -> int:
        """Bytes that were not looked at yet."""
        return len(self._backlog)

    def feed(self, data: bytes | memoryview, messages: list[Message], most: int) -> bool:
        """Take bytes and put the messages of up to ``most`` frames into ``messages``.

        Returns whether bytes are left that may hold further messages: call again with ``b""``. Control
        frames and a mistake of the client raise ``has_control``; whoever has looked at them lowers it.
        """
        if self.is_over:
            return False
        size = len(data)
        if (
            6 <= size < _LARGE
            and data[0] in _PLAIN
            and not self._backlog
            and self._chunks is None
            and self._assembly is None
        ):
            # What nearly all reads are; the loop would say the same, for 4 % more of an echo.
            second = data[1]
            if second < 0xFE:
                start = 6 if second - 0x80 == size - 6 else 0
            else:
                start = 8 if second == 0xFE and data[2] << 8 | data[3] == size - 8 else 0
            length = size - start
            if start and length <= self._max_size:
                payload = apply_mask(data[start:], data[start - 4 : start])
                if data[0] == _FINAL_TEXT:
                    try:
                        messages.append(payload.decode())
                    except UnicodeDecodeError:
                        self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
                        return False
                else:
                    messages.append(payload)
                self.received += 1
                self.received_bytes += length
                counters = self._counters
                counters.messages_received += 1
                counters.bytes_received += length
                return False
        if self._chunks is not None:
            # A large frame: only count until it is whole.
            self._chunks.add(bytes(data))
            self._missing -= len(data)
            if self._missing > 0:
                if self._text_from:
                    self._check_beginning(self._chunks.join())
                return False
            data = self._chunks.join()
            self._chunks = None
        elif self._backlog:
            data = self._backlog + data if data else self._backlog
            self._backlog = b""
        least = self._budget.left - most * FRAME
        if self._is_inflating and self._inflate(messages, least):
            # Nothing behind it is looked at before it is whole.
            self._backlog = bytes(data)
            return True
        if self.is_over:
            return False
        position = 0
        end = len(data)
        max_size = self._max_size
        received = received_bytes = 0
        # At least one, so that every call gets on.
        left = most = max(min(most, self._budget.left // FRAME), 1)
        try:
            while end - position >= 2:
                if left <= 0:
                    self._backlog = bytes(data[position:])
                    return True
                left -= 1
                first = data[position]
                second = data[position + 1]
                length = second & 0x7F
                start = position + 6
                if length >= 126:
                    start += 2 if length == 126 else 8
                    if end < start - 4:
                        opening = check_opening(first, second)
                        if opening is not None:
                            self._fail(CloseCode.PROTOCOL_ERROR, opening)
                            return False
                        break
                    length = int.from_bytes(data[position + 2 : start - 4], "big")
                plain = first in _PLAIN and self._assembly is None
                if not plain or second < 0x80 or length > max_size:
                    wrong = check_header(
                        first, second, length, self._assembly, max_size, self._inflater is not None
                    )
                    if wrong is not None:
                        self._fail(*wrong)
                        return False
                stop = start + length
                if stop > end:
                    # Between the header and its end: wait for exactly what is missing.
                    if length >= _BULK and not self.is_bulk:
                        self.is_bulk = self.has_control = True
                    text_from = start - position if first & 0x7F == _TEXT else 0
                    self._begin_frame(data[position:], stop - position, text_from)
                    return False
                masked: bytes | memoryview
                if length >= _LARGE:
                    masked = memoryview(data)[start:stop]
                    if length >= _BULK and not self.is_bulk:
                        self.is_bulk = self.has_control = True
                else:
                    masked = data[start:stop]
                payload = apply_mask(masked, data[start - 4 : start])
                if not plain:
                    if self._uncommon(first, payload, received, messages, least):
                        # Others come first.
                        self._backlog = bytes(data[stop:])
                        return True
                    if self.is_over:
                        return False
                elif first == _FINAL_TEXT:
                    try:
                        messages.append(payload.decode())
                    except UnicodeDecodeError:
                        self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
                        return False
                    received += 1
                    received_bytes += length
                else:
                    messages.append(payload)
                    received += 1
                    received_bytes += length
                position = stop
            if position < end:
                self._backlog = bytes(data[position:])
            return False
        finally:
            self._budget.left -= (most - left) * FRAME
            self.received += received
            self.received_bytes += received_bytes
            counters = self._counters
            counters.messages_received += received
            counters.bytes_received += received_bytes

    def add_rest(self, count: int) -> bytes | memoryview:
        """So many bytes have been put into ``rest``; return what is for ``feed`` now."""
        frame, rest = self._frame, self.rest
        if frame is None or rest is None:
            return b""
        self._missing -= count
        if self._missing > 0:
            self.rest = rest[count:]
            if self._text_from:
                self._check_beginning(frame[: len(frame) - len(self.rest)])
            return b""
        self._frame = self.rest = None
        return frame[: len(frame) - _BEYOND - self._missing]

    def _begin_frame(self, beginning: bytes | memoryview, size: int, text_from: int) -> None:
        """Keep what is there of a frame, header included, which has ``size`` bytes."""
        there = len(beginning)
        self._missing = size - there
        # An announcement alone does not cost us the memory that it names.
        if self.has_buffers and self._missing >= _BULK and there * _LEAST_PART >= size:
            self._frame = memoryview(_bytearray(None, size + _BEYOND))
            self._frame[:there] = beginning
            self.rest = self._frame[there:]
        else:
            self._chunks = Parts(b"")
            self._chunks.add(bytes(beginning))
        self._text_from = text_from
        if text_from:
            self._check_beginning(beginning)

    def _check_beginning(self, data: bytes | memoryview) -> None:
        """Refuse text at its first wrong byte, also within a frame that trickles."""
        start = self._text_from
        if len(data) >= start + _LOOKED_AT:
            self._text_from = 0
        if len(data) > start:
            beginning = apply_mask(data[start : start + _LOOKED_AT], data[start - 4 : start])
            try:
                codecs.utf_8_decode(beginning, "strict", False)
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")

    def drop(self, data: bytes | memoryview, most: int) -> bool:
        """As ``feed``, now that messages are not wanted any more: only a Close or a mistake counts."""
        # Messages that would have to be inflated or put together are not.
        self._is_dropping = True
        if self._is_inflating:
            self._frame_is_inflated()
        more = self.feed(data, [], most)
        self.replies, self.pongs = b"", ()
        self.has_control = False
        return more

    def _uncommon(
        self, first: int, payload: bytes, uncounted: int, messages: list[Message], least: int
    ) -> bool:
        """Take what is no plain message; return whether others come first, before more is parsed.

        ``uncounted`` is how many messages before it are not in ``received`` yet; ``least`` is what has to
        be left of the budget.
        """
        final = first >= 0x80
        if first & _CONTROL or not (payload or final):
            self.overhead += 1
            self.has_control = True
        if first & _CONTROL:
            self._control(first & 0x0F, payload, self.received + uncounted)
            return False
        assembly = self._assembly
        if assembly is None:
            inflater = self._inflater if first & _COMPRESSED else None
            assembly = Assembly(first & 0x0F == _TEXT, self._max_size, inflater)
            assembly.began_empty = not payload
        self._assembly = None if final else assembly
        if final:
            if assembly.began_empty and (payload or assembly.arrived):
                # It was counted as long as nothing had come.
                self.overhead -= 1
        else:
            self.fragments += 1
        if self._is_dropping:
            return False
        if assembly.is_compressed:
            self._assembly = assembly
            self._is_inflating = True
            self._budget.left -= INFLATED_FRAME
            assembly.begin_inflating(payload, final)
            return self._inflate(messages, least)
        try:
            message = assembly.add(payload, final)
        except Refused as refused:
            self._fail(refused.code, str(refused))
            return False
        return message is not None and self._completed(message, assembly.size, messages)

    def _inflate(self, messages: list[Message], least: int) -> bool:
        """Go on inflating a frame; return whether others come first, before that or more is done."""
        assembly, budget = self._assembly, self._budget
        if assembly is None:
            return False
        try:
            while assembly.is_inflating:
                size = assembly.size
                message = assembly.inflate()
                budget.left -= (assembly.size - size) * INFLATED_BYTE
                if assembly.is_inflating and budget.left <= max(least, 0):
                    return True
        except Refused as refused:
            self._fail(refused.code, str(refused))
            return False
        self._frame_is_inflated()
        is_enough = message is not None and self._completed(message, assembly.size, messages)
        return is_enough or budget.left <= max(least, 0)

    def _frame_is_inflated(self) -> None:
        self._is_inflating = False
        if self._assembly is not None and self._assembly.is_final:
            self._assembly = None

    def _completed(self, message: Message, size: int, messages: list[Message]) -> bool:
        """Count and hand over a message; return whether enough wait to be taken."""
        messages.append(message)
        self.received += 1
        self.received_bytes += size
        self._counters.messages_received += 1
        self._counters.bytes_received += size
        return len(message) >= _LARGE and _size(messages) >= _MOST_UNCOMMON

    def _control(self, opcode: int, payload: bytes, messages_before: int) -> None:
        """Take a control frame (RFC 6455, section 5.5), whose header has been checked."""
        if opcode == PONG:
            if self.pongs_due:
                self.pongs_due -= 1
                self.overhead -= 1
            self.pongs = (*self.pongs, (messages_before, payload))
        elif opcode == PING:
            self.replies += frame_header(PONG, len(payload)) + payload
        else:
            try:
                close = Close.parse(payload)
            except ProtocolError as error:
                self._fail(CloseCode.PROTOCOL_ERROR, str(error))
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "a reason that is not UTF-8")
            else:
                self.closed = Ending(close, frame_header(CLOSE, len(payload)) + payload)
                self.is_over = True

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.failure = Ending(Close(code, reason), close_frame(code, reason))
        self.has_control = self.is_over = True
        self._assembly = self._frame = self.rest = None
        self._is_inflating = False


def _size(messages: list[Message]) -> int:
    return sum(map(len, messages))


# bytearray(size) would fill it with zeros: a tenth of the echo of 64 KiB.
_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_bytearray.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)
_bytearray.restype = ctypes.py_object

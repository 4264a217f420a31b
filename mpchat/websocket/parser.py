"""Bytes from a client become messages: every frame border is decided here (RFC 6455, section 5).

Rules. No asyncio, no input or output: ``feed`` takes bytes and adds messages. Parsing is lazy: it stops
after so many frames, or when the budget of all is spent, also within a message that is being inflated.
The rest stays in the backlog, so a client cannot make us build more messages than its handler takes.

Theory of operation. Nearly all traffic is whole, final, masked text and binary frames: those are decoded
inline with the C mask of ``websockets``, one that is a whole read before all others. Sizes are checked
at the header, before a byte of the payload is kept. A frame that has not arrived whole is left to
``partial``, fragments and compressed messages to ``assembly``. ``websockets`` decides what a Close may
say. Nothing is parsed behind a Close or a mistake.
"""

from __future__ import annotations

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode

from mpchat.scoreboard.traffic import Traffic
from mpchat.websocket.assembly import Assembly, Message, Refused
from mpchat.websocket.budget import FRAME, INFLATED_BYTE, INFLATED_FRAME, Budget
from mpchat.websocket.deflate import Agreement, Inflater
from mpchat.websocket.frames import (
    CLOSE,
    CONTROL,
    PING,
    PONG,
    RSV1,
    TEXT,
    Ending,
    ending,
    frame_header,
)
from mpchat.websocket.headers import check_header, check_opening
from mpchat.websocket.partial import Partial
from mpchat.websocket.payload import unmask, unmask_text
from mpchat.websocket.state import State

_FINAL_TEXT, _FINAL_BINARY = 0x81, 0x82
_LONGEST_HEADER = 14
# What sums of lengths may not exceed in C; no message may have as much.
_TOO_LONG = 1 << 62

Pongs = tuple[tuple[int, bytes], ...]
"""Pongs that have arrived, in order: how many messages came before each, and its payload"""


class Parser:
    """One client's byte stream.

    Attributes:
        closed: The client's Close, with the frame that answers it.
        failure: The mistake of the client, with the Close frame that tells it.
        received, received_bytes: Messages so far, and the bytes of their payloads.
        fragments: Frames so far that did not end their message.
        overhead: Frames so far that carry nothing: control frames, except pongs that answer our pings,
            and empty fragments, except those that begin or end a message that is not empty.
        pongs_due: Pings of ours that a pong may still answer.
        is_bulk: There was a large frame.
        has_control: Set when the client has sent anything but messages, has ended its input, or sends in
            bulk. ``take_control`` clears it.
        has_buffers: Set by a reader that puts the next bytes into ``rest``, when there is one.
        is_over: After the client's Close or a mistake nothing further is parsed.
    """

    __slots__ = (
        "_assembly",
        "_backlog",
        "_budget",
        "_bulk",
        "_counters",
        "_inflater",
        "_is_dropping",
        "_is_inflating",
        "_large",
        "_max_size",
        "_parsed",
        "_partial",
        "_pongs",
        "_replies",
        "_thresholds",
        "closed",
        "failure",
        "fragments",
        "has_buffers",
        "has_control",
        "is_bulk",
        "is_over",
        "overhead",
        "pongs_due",
        "received",
        "received_bytes",
    )

    def __init__(
        self,
        max_size: int,
        counters: Traffic,
        budget: Budget,
        agreement: Agreement | None = None,
    ) -> None:
        self._max_size = max_size
        self._thresholds = budget.thresholds
        # Asked for with every frame.
        self._large = budget.thresholds.large_payload
        self._bulk = budget.thresholds.buffered_payload
        self._budget = budget
        self._inflater = Inflater(agreement, budget.thresholds) if agreement is not None else None
        self._counters = counters
        self.received = self.received_bytes = 0
        self._backlog: bytes = b""
        # Bytes at its beginning that were parsed
        self._parsed = 0
        self._partial: Partial | None = None
        self.is_bulk = self.has_buffers = False
        self._assembly: Assembly | None = None
        self._replies = b""
        self._pongs: Pongs = ()
        self.closed: Ending | None = None
        self.failure: Ending | None = None
        self._is_dropping = self._is_inflating = False
        self.fragments = self.overhead = self.pongs_due = 0
        self.has_control = self.is_over = False

    @property
    def is_within_message(self) -> bool:
        """Whether a message or a frame has begun that has not ended."""
        is_within_frame = bool(self._backlog) or self._partial is not None
        return is_within_frame or self._assembly is not None

    @property
    def unparsed(self) -> int:
        """Bytes that were not looked at yet."""
        return len(self._backlog) - self._parsed

    def take_control(self) -> tuple[bytes, Pongs]:
        """Return Pong frames to send, and pongs that have arrived, once."""
        control = self._replies, self._pongs
        self._replies, self._pongs, self.has_control = b"", (), False
        return control

    def feed(self, data: bytes | memoryview, messages: list[Message], most: int) -> bool:
        """Take bytes and put the messages of up to ``most`` frames into ``messages``.

        Returns whether bytes are left that may hold further messages: call again with ``b""``.
        """
        if self.is_over:
            return False
        if (
            isinstance(data, bytes)
            and not self._backlog
            and self._partial is None
            and self._assembly is None
            and self._take_whole(data, messages)
        ):
            return False
        if self._partial is not None:
            whole = self._partial.add(data)
            if whole is None:
                if data:
                    self._check_partial()
                return False
            data, self._partial = whole, None
        position = 0
        if self._backlog:
            if data:
                data = self._backlog[self._parsed :] + data
            else:
                data, position = self._backlog, self._parsed
            self._backlog, self._parsed = b"", 0
        least = self._budget.left - most * FRAME
        if self._is_inflating and self._inflate(messages, least):
            # Nothing behind it is looked at before it is whole.
            self._keep(data, position)
            return True
        if self.is_over:
            return False
        end = len(data)
        max_size = self._max_size
        received = received_bytes = 0
        # At least one, so that every call gets on.
        left = most = max(min(most, self._budget.left // FRAME), 1)
        try:
            while end - position >= 2:
                if left <= 0:
                    self._keep(data, position)
                    return True
                left -= 1
                if isinstance(data, bytes):
                    head, at = data, position
                else:
                    head, at = bytes(data[position : position + _LONGEST_HEADER]), 0
                first, second = head[at], head[at + 1]
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
                    length = head[at + 2] << 8 | head[at + 3]
                    if second & 0x7F == 127:
                        length = min(int.from_bytes(head[at + 2 : at + 10], "big"), _TOO_LONG)
                plain = first in (_FINAL_TEXT, _FINAL_BINARY) and self._assembly is None
                if not plain or second < 0x80 or length > max_size:
                    wrong = check_header(
                        first, second, length, self._assembly, max_size, self._inflater is not None
                    )
                    if wrong is not None:
                        self._fail(*wrong)
                        return False
                stop = start + length
                if length >= self._bulk and not self.is_bulk:
                    self.is_bulk = self.has_control = True
                if stop > end:
                    # Between the header and its end: wait for exactly what is missing.
                    text_from = start - position if first & 0x7F == TEXT else 0
                    begun, size = data[position:], stop - position
                    self._partial = Partial(
                        begun, size, text_from, self.has_buffers, self._thresholds
                    )
                    self._check_partial()
                    return False
                if not plain:
                    payload = unmask(data, start, length)
                    if self._uncommon(first, payload, received, messages, least):
                        # Others come first.
                        self._keep(data, stop)
                        return True
                    if self.is_over:
                        return False
                else:
                    if not self._add(first, data, start, length, messages):
                        return False
                    received += 1
                    received_bytes += length
                    self._counters.sizes.observe(length)
                position = stop
            if position < end:
                self._keep(data, position)
            return False
        finally:
            self._budget.left -= (most - left) * FRAME
            self._count(received, received_bytes)

    def _keep(self, data: bytes | memoryview, position: int) -> None:
        """Leave what is behind ``position`` for the next time.

        It is copied only when half was parsed, so all steps together copy no byte more than twice.
        """
        if isinstance(data, bytes) and position < len(data) // 2:
            self._backlog, self._parsed = data, position
        else:
            self._backlog, self._parsed = bytes(data[position:]), 0

    def _take_whole(self, data: bytes, messages: list[Message]) -> bool:
        """Take a read that is one small message, as nearly all reads are; return whether it was.

        ``feed`` does the same with it, in more steps.
        """
        size = len(data)
        if not 6 <= size < self._large:
            return False
        first, second = data[0], data[1]
        if second < 0xFE:
            start, length = 6, second - 0x80
        elif second == 0xFE:
            start, length = 8, data[2] << 8 | data[3]
        else:
            return False
        is_plain = first in (_FINAL_TEXT, _FINAL_BINARY)
        if not is_plain or length != size - start or length > self._max_size:
            return False
        if self._add(first, data, start, length, messages):
            self._count(1, length)
            self._counters.sizes.observe(length)
        return True

    def _add(
        self,
        first: int,
        data: bytes | memoryview,
        start: int,
        length: int,
        messages: list[Message],
    ) -> bool:
        """Add the message of one frame; return whether the client has made no mistake."""
        if first == _FINAL_BINARY:
            messages.append(unmask(data, start, length))
            return True
        try:
            messages.append(unmask_text(data, start, length))
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return False
        return True

    def _count(self, messages: int, size: int) -> None:
        self.received += messages
        self.received_bytes += size
        counters = self._counters
        counters.messages_received += messages
        counters.bytes_received += size

    @property
    def rest(self) -> memoryview | None:
        """Where the next bytes have to be put, for ``add_rest``; None if they are for ``feed``."""
        return self._partial.rest if self._partial is not None else None

    def add_rest(self, count: int) -> bytes | memoryview:
        """So many bytes have been put into ``rest``; return what is for ``feed`` now."""
        if self._partial is None:
            return b""
        whole = self._partial.fill(count)
        if whole is None:
            self._check_partial()
            return b""
        self._partial = None
        return whole

    def forget(self) -> None:
        """Drop what was not parsed: it is not wanted any more."""
        self._backlog, self._parsed = b"", 0
        self._partial = None

    def _check_partial(self) -> None:
        if self._partial is not None and self._partial.has_wrong_text():
            self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")

    def drop(self, data: bytes | memoryview, most: int) -> bool:
        """As ``feed``, now that messages are not wanted any more: only a Close or a mistake counts."""
        # Messages that would have to be inflated or put together are not.
        self._is_dropping = True
        if self._is_inflating:
            self._frame_is_inflated()
        more = self.feed(data, [], most)
        self.take_control()
        return more

    def _uncommon(
        self, first: int, payload: bytes, uncounted: int, messages: list[Message], least: int
    ) -> bool:
        """Take a frame that is no plain message; return whether others come first, before more is parsed.

        ``uncounted`` is how many messages before it are not in ``received`` yet; ``least`` is what has to
        be left of the budget.
        """
        final = first >= 0x80
        if first & CONTROL or not (payload or final):
            self.overhead += 1
            self.has_control = True
        if first & CONTROL:
            self._control(first & 0x0F, payload, self.received + uncounted)
            return False
        assembly = self._assembly
        if assembly is None:
            inflater = self._inflater if first & RSV1 else None
            is_text = first & 0x0F == TEXT
            assembly = Assembly(is_text, self._max_size, inflater, self._thresholds)
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
        self._count(1, size)
        self._counters.sizes.observe(size)
        thresholds = self._thresholds
        is_large = len(message) >= thresholds.large_payload
        return is_large and sum(map(len, messages)) >= thresholds.max_uncommon

    def _control(self, opcode: int, payload: bytes, messages_before: int) -> None:
        """Take a control frame (RFC 6455, section 5.5), whose header has been checked."""
        if opcode == PONG:
            if self.pongs_due:
                self.pongs_due -= 1
                self.overhead -= 1
            self._pongs = (*self._pongs, (messages_before, payload))
        elif opcode == PING:
            self._replies += frame_header(PONG, len(payload)) + payload
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

    # Moving

    def to_state(self) -> State | None:
        """Return all of it as plain values, to be read back by the parser of the same limits.

        None within a compressed message that is too long to be inflated once more.
        """
        message = None
        if self._assembly is not None:
            message = self._assembly.to_state()
            if message is None:
                return None
        partial, inflater = self._partial, self._inflater
        return {
            "unparsed": bytes(partial.arrived)
            if partial is not None
            else self._backlog[self._parsed :],
            "message": message,
            "is_inflating": self._is_inflating,
            "window": inflater.window if inflater is not None else b"",
            "received": self.received,
            "received_bytes": self.received_bytes,
            "fragments": self.fragments,
            "overhead": self.overhead,
            "pongs_due": self.pongs_due,
        }

    def continue_from(self, state: State) -> bool:
        """Go on where another parser has left off; return whether ``feed`` has to be called at once."""
        self._backlog, self._parsed = state["unparsed"], 0
        if self._inflater is not None:
            self._inflater.window = state["window"]
        if state["message"] is not None:
            message: State = state["message"]
            inflater = self._inflater if message["frames"] is not None else None
            text: bool = message["text"]
            self._assembly = Assembly(text, self._max_size, inflater, self._thresholds)
            self._assembly.continue_from(message)
        self._is_inflating = state["is_inflating"]
        self.received = state["received"]
        self.received_bytes = state["received_bytes"]
        self.fragments = state["fragments"]
        self.overhead = state["overhead"]
        self.pongs_due = state["pongs_due"]
        return bool(self._backlog) or self._is_inflating

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.failure = ending(code, reason)
        self.has_control = self.is_over = True
        self._assembly = self._partial = None
        self._is_inflating = False

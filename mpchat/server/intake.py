"""The bytes that a client has sent and the server has not answered, as requests. Pure.

Rules. One head at a time, under limits of size. A head may come in any pieces; no byte of it is searched
twice. A request is whole when its body is.
"""

from __future__ import annotations

from collections.abc import Callable

from mpchat.http.head import Head, HeadLimits, find_end, parse_head
from mpchat.server.stages import BODY, HEAD, IDLE, Stage


class Intake:
    """The unanswered bytes of one client."""

    __slots__ = ("_data", "_head", "_limits", "_seen")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._seen = 0
        """Bytes that were already searched for the end of the head"""
        self._head: Head | None = None

    def __len__(self) -> int:
        return len(self._data)

    @property
    def stage(self) -> Stage:
        """The stage that these bytes leave the client in: BODY, HEAD or IDLE."""
        if self._head is not None:
            return BODY
        return HEAD if self._data else IDLE

    @property
    def is_full(self) -> bool:
        """Whether it holds more than the largest head: enough until a request is answered."""
        return len(self._data) > self._limits.head

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._data += data

    def next(self, send_continue: Callable[[], None]) -> tuple[Head, bytes] | None:
        """Remove and return the next whole request, its head and body; None if it is incomplete.

        ``send_continue`` is called when the client waits for 100 before it sends the body.

        Raises:
            HttpError: The bytes are not a request.
        """
        data, head = self._data, self._head
        if head is None:
            end = find_end(data, self._limits, self._seen)
            if end < 0:
                self._seen = len(data)
                return None
            self._seen = 0
            head = self._head = parse_head(bytes(data[:end]), self._limits)
            del data[:end]
            # A request without a body gets 100 only before 101 (RFC 9110, 7.8 and 10.1.1).
            if head.expects_continue and (head.body_length or head.upgrade):
                send_continue()
        length, body = head.body_length, b""
        if length:
            if len(data) < length:
                return None
            body = bytes(data[:length])
            del data[:length]
        self._head = None
        return head, body

    def take_rest(self) -> bytes:
        """Remove and return the bytes behind the last request, which may be frames."""
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def clear(self) -> None:
        """Drop everything."""
        self._data.clear()
        self._head = None

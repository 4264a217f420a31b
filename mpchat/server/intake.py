"""The bytes that a client has sent and the server has not answered, as requests. Pure.

Rules. One head at a time, under limits of size. A head may come in any pieces; no byte of it is searched
twice. A request is whole when its body is; nothing of a body is taken before it is admitted.
"""

from __future__ import annotations

from collections.abc import Callable

from mpchat.http.body import ChunkedBody, SizedBody
from mpchat.http.head import Head, HeadLimits, find_end, parse_head
from mpchat.server.stages import BODY, HEAD, IDLE, Stage


class Intake:
    """The unanswered bytes of one client.

    Attributes:
        head: The head of a request whose body is incomplete.
    """

    __slots__ = ("_body", "_data", "_limits", "_seen", "head")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._seen = 0
        """Bytes that were already searched for the end of the head"""
        self.head: Head | None = None
        self._body: SizedBody | ChunkedBody | None = None

    def __len__(self) -> int:
        """Return the bytes that belong neither to ``head`` nor, so far, to its body."""
        return len(self._data)

    @property
    def stage(self) -> Stage:
        """The stage that these bytes leave the client in: BODY, HEAD or IDLE."""
        if self.head is not None:
            return BODY
        return HEAD if self._data else IDLE

    @property
    def is_full(self) -> bool:
        """Whether it holds more than the largest head: enough until a request is answered."""
        return len(self._data) > self._limits.head

    @property
    def is_behind(self) -> bool:
        """Whether ``next`` has decoded a part of a body, and can go on without more bytes."""
        return self._body is not None and self._body.is_behind

    @property
    def body_size(self) -> int:
        """The bytes of the incomplete body."""
        return 0 if self._body is None else len(self._body.content)

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._data += data

    def next(self, admit: Callable[[Head], int]) -> tuple[Head, bytes] | None:
        """Remove and return the next whole request, its head and body; None if it is incomplete.

        ``admit`` is called with the head of a request that has a body, or whose client waits for 100. It
        returns the most bytes that the body may have, and may raise an HttpError.

        Raises:
            HttpError: The bytes are not a request, or ``admit`` refuses it; ``head`` is the head of a
                request that is refused because of its body.
        """
        data, head = self._data, self.head
        if head is None:
            end = find_end(data, self._limits, self._seen)
            if end < 0:
                self._seen = len(data)
                return None
            self._seen = 0
            head = parse_head(bytes(data[:end]), self._limits)
            del data[:end]
            if not head.expects_continue and head.body_length == 0:
                return head, b""
            self.head = head
            most, length = admit(head), head.body_length
            self._body = ChunkedBody(most) if length is None else SizedBody(length)
        if self._body is None or not self._body.take(data):
            return None
        body = bytes(self._body.content)
        self.head = self._body = None
        return head, body

    def take_rest(self) -> bytes:
        """Remove and return the bytes behind the last request, which may be frames."""
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def clear(self) -> None:
        """Drop everything."""
        self._data.clear()
        self.head = self._body = None

"""A message that is sent to a client when nothing else was for a while.

Rules. A client that sees no pings, such as a page, knows by it that the connection is alive. The wheel
looks four times in each period, since nobody notes when a message leaves: so the message may come
a quarter of a period early, and never late. A client that does not read gets none: it has others to read.
"""

from __future__ import annotations

from mpchat.websocket.connection import WebSocketConnection, protocol_of
from mpchat.websocket.phases import OPEN

_LOOKS = 4


class Heartbeat:
    """Sends ``text`` whenever ``seconds`` have passed without another message, until ``stop``."""

    __slots__ = ("_protocol", "_seconds", "_sent", "_since", "_text", "_wheel", "wheel_tick")

    def __init__(self, chat: WebSocketConnection, text: str, seconds: float) -> None:
        self._protocol = protocol_of(chat)
        self._wheel = self._protocol.shared.wheel
        self._text = text
        self._seconds = seconds
        self.wheel_tick = 0
        self._begin()

    def _begin(self) -> None:
        """A period begins now."""
        self._sent = self._protocol.outgoing.sent
        # The last message has left at this time, or later.
        self._since = self._wheel.time()
        self._wheel.set(self, self._seconds / _LOOKS)

    def expire(self) -> None:
        """Look whether anything was sent."""
        outgoing = self._protocol.outgoing
        now = self._wheel.time()
        if outgoing.sent != self._sent:
            self._sent = outgoing.sent
            # It may have left right after the last look.
            self._since = max(self._since, now - self._seconds / _LOOKS)
        elif now - self._since >= self._seconds:
            # While an end is under way only answers may leave.
            if self._protocol.phase is OPEN:
                self._protocol.send_now(self._text)
            self._begin()
            return
        left = self._since + self._seconds - now
        self._wheel.set(self, min(left, self._seconds / _LOOKS))

    def stop(self) -> None:
        """Send none any more."""
        self._wheel.discard(self)

"""Keepalive: ping a client now and then, and end its connection when it does not answer.

Rules. Anything that is heard answers. A dead peer is closed within interval + timeout. Our own slowness
is no fault of the client: an answer may lie unread when a late timer finds none, so a client is judged
only after the loop has read once more, and not while we ourselves have paused reading. Nor is a client
late that still reads what was sent before the ping. A dynamic value (MPCHAT_KEEPALIVE) goes before the
handler's option; 0 turns pings off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import KEEPALIVE
from mpchat.websocket.uptake import unread
from mpchat.websocket.wheel import TICK, Wheel

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

_PING_FRAME = b"\x89\x00"
_TIMEOUT_CODE = 1011
_TIMEOUT_REASON = "keepalive ping timeout"


class Keepalive:
    """The worker's keepalive; what it knows of a connection stands in the connection."""

    def __init__(self, wheel: Wheel, snapshot: Callable[[], Snapshot]) -> None:
        self._wheel = wheel
        self._snapshot = snapshot
        # Kept, since each access to a method would make another object, one for every connection.
        self._ping_action = self._ping
        self._judge_action = self._judge

    def begin(self, protocol: WebSocketProtocol) -> None:
        """Wait for the next ping, as the options and the dynamic config say now."""
        protocol.awaiting_pong = False
        interval = self._snapshot()[KEEPALIVE].interval_ms
        seconds = protocol.options.ping_interval if interval is None else interval / 1000
        if not seconds:
            self._wheel.discard(protocol)
            return
        # The wheel rounds up three times until a dead peer is closed: that must fit in.
        protocol.wheel_action = self._ping_action
        self._wheel.set(protocol, max(seconds - 3 * TICK, seconds / 2))

    def _ping(self, protocol: WebSocketProtocol) -> None:
        protocol.send_control(_PING_FRAME)
        protocol.scanner.pongs_due += 1
        protocol.unread = unread(protocol.transport)
        protocol.awaiting_pong = True
        protocol.suspected = False
        protocol.wheel_action = self._judge_action
        self._wheel.set(protocol, self._timeout(protocol))

    def _judge(self, protocol: WebSocketProtocol) -> None:
        if not protocol.is_reading:
            self._wheel.set(protocol, self._timeout(protocol))
        elif 0 < (left := unread(protocol.transport)) < protocol.unread:
            # It reads what was sent before the ping.
            protocol.unread = left
            self._wheel.set(protocol, self._timeout(protocol))
        elif not protocol.suspected:
            protocol.suspected = True
            self._wheel.set(protocol, 0)
        else:
            protocol.shared.count_limit("ping-timeout")
            protocol.fail(_TIMEOUT_CODE, _TIMEOUT_REASON)

    def _timeout(self, protocol: WebSocketProtocol) -> float:
        timeout: int | None = self._snapshot()[KEEPALIVE].timeout_ms
        seconds: float = protocol.options.ping_timeout
        return seconds if timeout is None else timeout / 1000

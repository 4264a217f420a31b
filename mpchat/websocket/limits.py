"""How often a client may say something, how slowly, and for how long nothing at all.

Rules. Rates are looked at once for each read, and the clock only when as much has come as a second may
bring: a message pays a comparison at the most, and nothing where no rate is set. Times are judged when
the wheel turns; a connection stands on it only while something has begun, or for ``idle-timeout``. Our
own slowness is no fault of the client: while we do not read nothing is late, and whoever was not heard
for a while may catch up. A client that reads is not late either,
however slowly it does. What a limit ends is counted by the name of its option.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mpchat.websocket.uptake import LOOKS, Uptake

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

_VIOLATION = 1008
_GOING_AWAY = 1001
_CATCH_UP = 5.0
"""Seconds' worth that a client may send at once that has sent less before, or could not be heard."""
_IDLE_LOOKS = 4
"""So often within ``idle-timeout`` it is looked whether there were messages."""


class Rate:
    """So many a second of something that is counted anyway.

    Attributes:
        due: The count from which on ``is_exceeded`` has to be asked.
    """

    __slots__ = ("_counted", "_credit", "_most", "_since", "due")

    def __init__(self, most: int, since: float) -> None:
        self._most = most
        self._since = since
        # The first one begins the time that the others take.
        self._counted = 1
        self._credit = 0.0
        self.due = most + 1

    def is_exceeded(self, count: int) -> bool:
        """Whether it was more than allowed since it was last asked; ``count`` is at least ``due``."""
        now = time.monotonic()
        needed = (count - self._counted) / self._most
        self._credit = min(self._credit + now - self._since, _CATCH_UP) - needed
        self._since = now
        self._counted = count
        self.due = count + self._most
        return self._credit < 0


class Limits:
    """What is noted of one client; made when there is something to note, so an idle one has none.

    On the wheel it stays until it finds nothing to wait for: what begins and ends in between costs no
    more than noting the time.
    """

    __slots__ = (
        "_active_at",
        "_activity",
        "_begun_after",
        "_begun_at",
        "_bytes",
        "_controls",
        "_due",
        "_messages",
        "_protocol",
        "_uptake",
        "wheel_tick",
    )

    def __init__(self, protocol: WebSocketProtocol) -> None:
        options, since = protocol.options, protocol.since
        self._protocol = protocol
        self._messages = _rate(options.max_messages_per_second, since)
        self._bytes = _rate(options.max_bytes_per_second, since)
        self._controls = _rate(options.max_control_frames_per_second, since)
        # The number of messages before the one that has begun, and when it was first seen.
        self._begun_after = -1
        self._begun_at = 0.0
        # While more is unsent than the client may leave unread.
        self._uptake: Uptake | None = None
        self._activity = -1
        self._active_at = 0.0
        self._due = 0.0
        self.wheel_tick = 0
        if options.idle_timeout:
            self._wait(time.monotonic(), options.idle_timeout / _IDLE_LOOKS)

    def after_read(self) -> None:
        """Judge the rates of messages and their bytes."""
        scanner = self._protocol.scanner
        rate, count = self._messages, scanner.received + scanner.fragments
        if rate is not None and count >= rate.due and rate.is_exceeded(count):
            self._end("max-messages-per-second", _VIOLATION, "too many messages")
        rate, size = self._bytes, scanner.received_bytes
        if rate is not None and size >= rate.due and rate.is_exceeded(size):
            self._end("max-bytes-per-second", _VIOLATION, "too many bytes")

    def after_controls(self) -> None:
        """Judge the rate of frames that carry no message."""
        rate, count = self._controls, self._protocol.scanner.overhead
        if rate is not None and count >= rate.due and rate.is_exceeded(count):
            self._end("max-control-frames-per-second", _VIOLATION, "too many control frames")

    def message_begun(self) -> None:
        """A read has ended within a message."""
        received = self._protocol.scanner.received
        if self._begun_after != received:
            self._begun_after, self._begun_at = received, time.monotonic()
            self._wait(self._begun_at, self._protocol.options.message_timeout)

    def reading_resumed(self) -> None:
        """What we did not read meanwhile was not late."""
        self._begun_at = time.monotonic()

    def writing_paused(self) -> None:
        """The client does not take what we send."""
        now = time.monotonic()
        self._uptake = Uptake(self._protocol.transport, now)
        self._wait(now, self._protocol.options.write_timeout / LOOKS)

    def writing_resumed(self) -> None:
        """It does again."""
        self._uptake = None

    def expire(self) -> None:
        """What the wheel calls: end the connection, or wait for what is due next."""
        protocol, now = self._protocol, time.monotonic()
        self._judge_writing(now)
        if protocol.sent is None and not protocol.lost:
            self._judge_message(now)
            self._judge_idle(now)

    def _wait(self, now: float, seconds: float) -> None:
        """Have ``expire`` called then, or earlier if something else is due; 0 is never."""
        if seconds and (not self.wheel_tick or now + seconds < self._due):
            self._due = now + seconds
            self._protocol.shared.wheel.set(self, seconds)

    def _judge_writing(self, now: float) -> None:
        timeout = self._protocol.options.write_timeout
        if self._uptake is None or not timeout:
            return
        wait = self._uptake.wait(now, timeout)
        if wait > 0:
            self._wait(now, wait)
        else:
            # It would not read a Close either.
            self._protocol.shared.count_limit("write-timeout")
            self._protocol.abort()

    def _judge_message(self, now: float) -> None:
        protocol = self._protocol
        scanner, timeout = protocol.scanner, protocol.options.message_timeout
        if not timeout or not scanner.is_within_message:
            return
        if self._begun_after != scanner.received or not protocol.is_reading:
            self._begun_after, self._begun_at = scanner.received, now
        wait = self._begun_at + timeout - now
        if wait > 0:
            self._wait(now, wait)
        else:
            self._end("message-timeout", _VIOLATION, "a message took too long to arrive")

    def _judge_idle(self, now: float) -> None:
        protocol = self._protocol
        timeout = protocol.options.idle_timeout
        if not timeout or protocol.sent is not None:
            return
        activity = protocol.scanner.received + protocol.output.sent
        # A large message may take the client longer to read, which write-timeout judges.
        if activity != self._activity or self._uptake is not None:
            self._activity, self._active_at = activity, now
        if now - self._active_at < timeout:
            self._wait(now, timeout / _IDLE_LOOKS)
        else:
            protocol.shared.count_limit("idle-timeout")
            protocol.close(_GOING_AWAY, "no messages for too long")

    def _end(self, limit: str, code: int, reason: str) -> None:
        if self._protocol.sent is None and not self._protocol.lost:
            self._protocol.shared.count_limit(limit)
            self._protocol.fail(code, reason)


def _rate(most: int | None, since: float) -> Rate | None:
    return Rate(most, since) if most is not None else None


def begin_limits(protocol: WebSocketProtocol) -> None:
    """Have a new connection watched from its beginning, if its options ask for that."""
    options = protocol.options
    rates = (options.max_messages_per_second, options.max_bytes_per_second)
    if options.idle_timeout or any(rate is not None for rate in rates):
        limits_of(protocol)


def end_limits(protocol: WebSocketProtocol) -> None:
    """The connection is over."""
    if protocol.limits is not None:
        protocol.shared.wheel.discard(protocol.limits)
        # It holds the protocol, too: neither has to wait until garbage is looked for.
        protocol.limits = None


def limits_of(protocol: WebSocketProtocol) -> Limits:
    """Return what is noted of a client, from now on."""
    if protocol.limits is None:
        protocol.limits = Limits(protocol)
    return protocol.limits

"""How often and how slowly a client may send, and how long it may be silent: verdicts only.

Rules. Rates are looked at once for each read, and the clock only when as much has come as a second may
bring: a message costs at most a comparison, and nothing where no rate is set. Times are judged when
the wheel turns; a connection stands on it only while something has begun, or for ``idle-timeout``. Our
own slowness is no fault of the client: while we do not read nothing is late, and a client that was not
heard for a while may catch up. A client that reads is not late either, however slowly it does. What ends
a connection is counted under the name of its option.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from websockets.frames import CloseCode

from mpchat.ipc.closing import IDENTITY_GONE
from mpchat.websocket.options import WebsocketOptions
from mpchat.websocket.state import State
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.uptake import Uptake
from mpchat.websocket.wheel import Wheel


class End(Enum):
    """How a limit ends a connection."""

    FAIL = auto()
    """With a Close, and without waiting for the client's"""
    CLOSE = auto()
    """In order"""
    ABORT = auto()
    """Without a word: the client would not read it"""


class Verdict(NamedTuple):
    """A client is beyond a limit."""

    limit: str
    """The option, one of LIMITS"""
    end: End
    code: int
    reason: str


def _fails(limit: str, reason: str) -> Verdict:
    return Verdict(limit, End.FAIL, CloseCode.POLICY_VIOLATION, reason)


TOO_MANY_MESSAGES = _fails("max-messages-per-second", "too many messages")
TOO_MANY_BYTES = _fails("max-bytes-per-second", "too many bytes")
TOO_MANY_CONTROLS = _fails("max-control-frames-per-second", "too many control frames")
MESSAGE_TOO_SLOW = _fails("message-timeout", "a message took too long to arrive")
IDLE = Verdict("idle-timeout", End.CLOSE, CloseCode.GOING_AWAY, "no messages for too long")
NOT_READING = Verdict("write-timeout", End.ABORT, CloseCode.ABNORMAL_CLOSURE, "")
EXPIRED = Verdict("expires", End.CLOSE, IDENTITY_GONE, "the credentials have expired")
TOO_SLOW = Verdict(
    "member-backlog",
    End.FAIL,
    CloseCode.TRY_AGAIN_LATER,
    "too slow: come back with the position",
)
NO_PONG = Verdict("ping-timeout", End.FAIL, CloseCode.INTERNAL_ERROR, "keepalive ping timeout")


class Rate:
    """A number per second of something that is counted anyway.

    Attributes:
        due: The count from which on ``is_exceeded`` has to be asked.
    """

    __slots__ = ("_catch_up", "_clock", "_counted", "_credit", "_most", "_since", "due")

    def __init__(
        self, most: int, since: float, catch_up: float, clock: Callable[[], float]
    ) -> None:
        self._most = most
        self._catch_up = catch_up
        self._clock = clock
        self._since = since
        # The first one begins the time that the others take.
        self._counted = 1
        self._credit = 0.0
        self.due = most + 1

    def is_exceeded(self, count: int) -> bool:
        """Whether it was more than allowed since this was last asked; ``count`` is at least ``due``."""
        now = self._clock()
        needed = (count - self._counted) / self._most
        self._credit = min(self._credit + now - self._since, self._catch_up) - needed
        self._since = now
        self._counted = count
        self.due = count + self._most
        return self._credit < 0

    def to_state(self) -> tuple[int, float, float]:
        """Return the count when it was last judged, the credit in seconds, and the time."""
        return self._counted, self._credit, self._since

    def continue_from(self, state: tuple[int, float, float]) -> None:
        """Go on where another worker has left off; both have the same clock."""
        self._counted, self._credit, self._since = state
        self.due = self._counted + self._most


class Seen(NamedTuple):
    """What the times of one client are judged by."""

    received: int
    """Messages so far"""
    sent: int
    is_within_message: bool
    is_reading: bool
    """Whether we read what the client sends"""


class Limits:
    """What is noted of one client; made when there is something to note, so an idle one has none.

    It stays on the wheel until it finds nothing to wait for: what begins and ends in between costs no
    more than noting the time.
    """

    __slots__ = (
        "_active_at",
        "_activity",
        "_begun_after",
        "_begun_at",
        "_bytes",
        "_clock",
        "_controls",
        "_due",
        "_expires",
        "_messages",
        "_on_due",
        "_options",
        "_thresholds",
        "_uptake",
        "_wall_clock",
        "_wheel",
        "wheel_tick",
    )

    def __init__(
        self,
        options: WebsocketOptions,
        thresholds: Thresholds,
        wheel: Wheel,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        since: float,
        on_due: Callable[[], None],
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._wheel = wheel
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_due = on_due
        self._messages = self._rate(options.max_messages_per_second, since)
        self._bytes = self._rate(options.max_bytes_per_second, since)
        self._controls = self._rate(options.max_control_frames_per_second, since)
        # The number of messages before the one that has begun, and when it was first seen.
        self._begun_after = -1
        self._begun_at = 0.0
        # While more is unsent than the client may leave unread.
        self._uptake: Uptake | None = None
        self._activity = -1
        self._active_at = 0.0
        self._expires: float | None = None
        self._due = 0.0
        self.wheel_tick = 0
        if options.idle_timeout:
            self._wait(clock(), options.idle_timeout / thresholds.idle_looks)

    def _rate(self, most: int | None, since: float) -> Rate | None:
        if most is None:
            return None
        return Rate(most, since, self._thresholds.catch_up_seconds, self._clock)

    @staticmethod
    def are_wanted_from_the_start(options: WebsocketOptions) -> bool:
        """Whether a client has to be watched before there is anything to note of it."""
        return (
            bool(options.idle_timeout)
            or options.max_messages_per_second is not None
            or options.max_bytes_per_second is not None
        )

    # What happens

    def message_begun(self, received: int) -> None:
        """A read has ended within a message."""
        if self._begun_after != received:
            self._begun_after, self._begun_at = received, self._clock()
            self._wait(self._begun_at, self._options.message_timeout)

    def reading_resumed(self) -> None:
        """What we did not read meanwhile was not late."""
        self._begun_at = self._clock()

    def writing_paused(self, unread: int) -> None:
        """The client does not take what we send."""
        now, looks = self._clock(), self._thresholds.uptake_looks
        self._uptake = Uptake(unread, looks, now)
        self._wait(now, self._options.write_timeout / looks)

    def writing_resumed(self) -> None:
        """The client takes it again."""
        self._uptake = None

    def identity_expires(self, at: float | None) -> None:
        """Who the client is will be sure until then, in seconds since 1970; None: always."""
        self._expires = at
        if at is not None:
            self._wait_for_expiry(at)

    def expire(self) -> None:
        """What the wheel calls: a time has to be judged."""
        self._on_due()

    def end(self) -> None:
        """The connection is over."""
        self._wheel.discard(self)

    def to_state(self) -> State:
        """Return what is noted as plain values; all workers of a host have the same clock."""
        rates = (self._messages, self._bytes, self._controls)
        return {
            "rates": [rate.to_state() if rate is not None else None for rate in rates],
            "message": (self._begun_after, self._begun_at),
            "activity": (self._activity, self._active_at),
        }

    def continue_from(self, state: State) -> None:
        """Go on where another worker has left off."""
        rates = (self._messages, self._bytes, self._controls)
        for rate, noted in zip(rates, state["rates"], strict=True):
            if rate is not None and noted is not None:
                rate.continue_from(noted)
        self._begun_after, self._begun_at = state["message"]
        self._activity, self._active_at = state["activity"]
        timeout = self._options.message_timeout
        if timeout and self._begun_after >= 0:
            now = self._clock()
            self._wait(now, max(self._begun_at + timeout - now, self._thresholds.tick_seconds))

    # Verdicts

    def judge_messages(self, count: int, size: int) -> Verdict | None:
        """Judge the rates of messages, each fragment counted as one, and of their bytes."""
        rate = self._messages
        if rate is not None and count >= rate.due and rate.is_exceeded(count):
            return TOO_MANY_MESSAGES
        rate = self._bytes
        if rate is not None and size >= rate.due and rate.is_exceeded(size):
            return TOO_MANY_BYTES
        return None

    def judge_controls(self, count: int) -> Verdict | None:
        """Judge the rate of frames that carry no message."""
        rate = self._controls
        if rate is not None and count >= rate.due and rate.is_exceeded(count):
            return TOO_MANY_CONTROLS
        return None

    def judge_uptake(self, unread: Callable[[], int]) -> Verdict | None:
        """Judge a client that leaves unread what is sent to it."""
        timeout = self._options.write_timeout
        if self._uptake is None or not timeout:
            return None
        now = self._clock()
        wait = self._uptake.wait(unread(), now, timeout)
        if wait > 0:
            self._wait(now, wait)
            return None
        return NOT_READING

    def judge_times(self, seen: Seen) -> Verdict | None:
        """Judge how slowly a message comes, for how long there was none, and who it is."""
        now = self._clock()
        return (
            self._judge_identity() or self._judge_message(seen, now) or self._judge_idle(seen, now)
        )

    def _judge_identity(self) -> Verdict | None:
        if self._expires is None:
            return None
        if self._wall_clock() >= self._expires:
            return EXPIRED
        self._wait_for_expiry(self._expires)
        return None

    def _wait_for_expiry(self, at: float) -> None:
        # The system's clock may be set meanwhile, and the machine may sleep.
        wait = min(at - self._wall_clock(), self._thresholds.expiry_look_seconds)
        self._wait(self._clock(), max(wait, self._thresholds.tick_seconds))

    def _judge_message(self, seen: Seen, now: float) -> Verdict | None:
        timeout = self._options.message_timeout
        if not timeout or not seen.is_within_message:
            return None
        if self._begun_after != seen.received or not seen.is_reading:
            self._begun_after, self._begun_at = seen.received, now
        wait = self._begun_at + timeout - now
        if wait > 0:
            self._wait(now, wait)
            return None
        return MESSAGE_TOO_SLOW

    def _judge_idle(self, seen: Seen, now: float) -> Verdict | None:
        timeout = self._options.idle_timeout
        if not timeout:
            return None
        activity = seen.received + seen.sent
        # A large message may take the client longer to read, which write-timeout judges.
        if activity != self._activity or self._uptake is not None:
            self._activity, self._active_at = activity, now
        if now - self._active_at < timeout:
            self._wait(now, timeout / self._thresholds.idle_looks)
            return None
        return IDLE

    def _wait(self, now: float, seconds: float) -> None:
        """Have ``expire`` called then, or earlier if something else is due; 0 is never."""
        if seconds and (not self.wheel_tick or now + seconds < self._due):
            self._due = now + seconds
            self._wheel.set(self, seconds)

"""The times of a connection: when its client has to answer a ping, to read, to send, and to end its side.

Rules. ``keepalive``, ``uptake`` and ``limits`` judge; their verdicts are events of the connection's
``life``. A connection has one timer: keepalive's until an end begins, then that of close-timeout. Limits
have another one.
"""

from __future__ import annotations

import asyncio

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.websocket.incoming import Incoming
from mpchat.websocket.keepalive import PING_FRAME, AwaitedPong, Opinion
from mpchat.websocket.life import Life
from mpchat.websocket.limits import NO_PONG, Limits, Seen
from mpchat.websocket.options import WebsocketOptions
from mpchat.websocket.outgoing import Outgoing
from mpchat.websocket.parser import Parser
from mpchat.websocket.phases import CLOSING, OWED, Event
from mpchat.websocket.shared import Shared
from mpchat.websocket.state import State
from mpchat.websocket.uptake import Uptake, unread


class TimedLife(Life):
    """One connection, and how long it waits for its client.

    Attributes:
        since: When it began, by the clock that all share.
        is_reading: Whether the socket is read; ``protocol`` sets it.
    """

    __slots__ = (
        "_awaited_pong",
        "_limits",
        "_uptake",
        "is_reading",
        "options",
        "since",
        "transport",
        "wheel_tick",
    )

    def __init__(
        self,
        shared: Shared,
        handler: HandlerBase,
        context: Context,
        parser: Parser,
        incoming: Incoming,
        outgoing: Outgoing,
        transport: asyncio.Transport,
        options: WebsocketOptions,
    ) -> None:
        super().__init__(shared, handler, context, parser, incoming, outgoing)
        self.transport = transport
        self.options = options
        self.since = shared.clock()
        self.wheel_tick = 0
        self.is_reading = True
        # A ping of ours that is not answered.
        self._awaited_pong: AwaitedPong | None = None
        # What the client has taken since our Close.
        self._uptake: Uptake | None = None
        self._limits: Limits | None = None

    def _begin(self, task: asyncio.Task[None]) -> None:
        super()._begin(task)
        self._begin_keepalive()
        if Limits.are_wanted_from_the_start(self.options):
            self._ensure_limits()
        if self.context.belongs_to(self):
            self.follow_expires()

    def to_state(self) -> State | None:
        state = super().to_state()
        if state is not None:
            state["since"] = self.since
            state["limits"] = self._limits.to_state() if self._limits is not None else None
        return state

    def continue_from(self, state: State, task: asyncio.Task[None]) -> None:
        self.since = state["since"]
        super().continue_from(state, task)
        if state["limits"] is not None:
            self._ensure_limits().continue_from(state["limits"])

    def _end_timers(self) -> None:
        self.shared.wheel.discard(self)
        self.context.belongs_to(None)
        if self._limits is not None:
            self._limits.end()
            # It holds us as well: neither has to wait until garbage is looked for.
            self._limits = None

    def expire(self) -> None:
        """What the wheel calls when this connection's time has come."""
        if self.phase < OWED:
            self._expect_pong()
        elif self.phase is OWED:
            self._on(Event.TIMEOUT)
        else:
            self._expect_end()

    def _unread(self) -> int:
        return unread(self.transport, self.outgoing.unsent())

    # Keepalive

    def _begin_keepalive(self) -> None:
        """Wait for the next ping, as the options and the dynamic config say now."""
        self._awaited_pong = None
        seconds = self.shared.keepalive.interval(self.options)
        if seconds:
            self.shared.wheel.set(self, seconds)
        else:
            self.shared.wheel.discard(self)

    def follow_keepalive(self, part: float) -> None:
        """Take over another keepalive; the next ping comes after this part of its interval."""
        if self.phase < OWED:
            self._begin_keepalive()
            seconds = self.shared.keepalive.interval(self.options)
            if seconds:
                self.shared.wheel.set(self, part * seconds)

    def _expect_pong(self) -> None:
        """Send a ping, or judge a client that has not answered one."""
        shared = self.shared
        timeout = shared.keepalive.timeout(self.options)
        if self._awaited_pong is None:
            self.send_control(PING_FRAME)
            self.parser.pongs_due += 1
            self._awaited_pong = AwaitedPong(self._unread())
            shared.wheel.set(self, timeout)
            return
        match self._awaited_pong.judge(self._unread(), is_reading=self.is_reading):
            case Opinion.PATIENCE:
                shared.wheel.set(self, timeout)
            case Opinion.SUSPICION:
                shared.wheel.set(self, 0)
            case Opinion.DEAD:
                self._act_on(NO_PONG)

    # close-timeout

    def _hold_back(self) -> None:
        """Wait for the handler's answers."""
        # What comes now is no answer to a ping.
        self._awaited_pong = None
        self.shared.wheel.set(self, self.options.close_timeout)

    def _begin_close_timeout(self) -> None:
        """Wait until the client has taken nothing, and not ended its side, for that time."""
        self._uptake = self._awaited_pong = None
        # The first look is at the next tick, since to look asks the system: most clients have ended then.
        self.shared.wheel.set(self, 0)

    def _expect_end(self) -> None:
        """Look whether the client has taken anything since we have closed."""
        shared, timeout = self.shared, self.options.close_timeout
        if self._uptake is None:
            looks = shared.thresholds.uptake_looks
            self._uptake = Uptake(self._unread(), looks, shared.clock())
            wait = timeout / looks
        else:
            wait = self._uptake.wait(self._unread(), shared.clock(), timeout)
        if wait > 0:
            shared.wheel.set(self, wait)
        else:
            self._on(Event.TIMEOUT)

    # Limits

    def _ensure_limits(self) -> Limits:
        """Return what is noted of this client, from now on."""
        if self._limits is None:
            shared, options, since = self.shared, self.options, self.since
            self._limits = Limits(
                options,
                shared.thresholds,
                shared.wheel,
                shared.clock,
                shared.wall_clock,
                since,
                self._judge_times,
            )
        return self._limits

    def follow_expires(self) -> None:
        """Close when the identity expires, as it stands now."""
        expires = self.context.expires
        if expires is not None or self._limits is not None:
            self._ensure_limits().identity_expires(expires)

    def _judge_messages(self, limits: Limits) -> None:
        parser = self.parser
        count = parser.received + parser.fragments
        self._act_on(limits.judge_messages(count, parser.received_bytes))

    def _judge_times(self) -> None:
        limits, parser = self._limits, self.parser
        if limits is None:
            return
        self._act_on(limits.judge_uptake(self._unread))
        if self.phase < CLOSING:
            sent, within = self.outgoing.sent, parser.is_within_message
            seen = Seen(parser.received, sent, within, self.is_reading)
            self._act_on(limits.judge_times(seen))

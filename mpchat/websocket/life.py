"""How a connection stands: its phase, both Closes, the answers that it owes, and who waits for its end.

Rules.
- Whatever ends a connection is an event here. ``phases`` says what follows from it; ``_on`` alone sets
  the phase and has the actions done.
- ``Life`` does the actions that write a Close, and those that tell the tasks that wait for the end. It
  knows neither a timer nor a socket: ``timers`` and ``protocol`` derive from it and do the other actions.
- Each of these three classes sets its own fields only. ``is_reading`` is the exception: ``protocol``
  keeps it for ``timers`` to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, CloseCode

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.websocket.closed import closed_error
from mpchat.websocket.frames import Ending, ending
from mpchat.websocket.incoming import Incoming
from mpchat.websocket.limits import End, Verdict
from mpchat.websocket.outgoing import Outgoing
from mpchat.websocket.parser import Parser, Pongs
from mpchat.websocket.phases import (
    CLOSING,
    LINGERING,
    MOVABLE,
    OPEN,
    OWED,
    TABLE,
    Action,
    Event,
    Phase,
)
from mpchat.websocket.pings import Pings
from mpchat.websocket.shared import Shared
from mpchat.websocket.state import State

# Most connections meet these two. Python 3.11 takes long to find a member of an enum.
_CAUGHT_UP, _CLOSE = Event.CAUGHT_UP, Event.CLOSE
_NO_CLOSE = int(CloseCode.ABNORMAL_CLOSURE)


class Follower(Protocol):
    """What has to know when a connection ends."""

    def connection_ended(self) -> None:
        """The WebSocket is over."""


class Life:
    """One connection, whatever it is read from and written to.

    Attributes:
        phase: Where in its life it is.
        close_rcvd, close_sent: The Close of the client and ours, once there is one.
        close_rcvd_then_sent: Whether ours answers the client's; None until there are both.
        is_cancelled: The handler's task was cancelled from here.
        follower: Who is told of its end.
    """

    __slots__ = (
        "_close_to_send",
        "_end",
        "_is_counted",
        "_owed",
        "_pings",
        "_task",
        "close_rcvd",
        "close_rcvd_then_sent",
        "close_sent",
        "context",
        "follower",
        "handler",
        "incoming",
        "is_cancelled",
        "outgoing",
        "parser",
        "phase",
        "shared",
    )

    def __init__(
        self,
        shared: Shared,
        handler: HandlerBase,
        context: Context,
        parser: Parser,
        incoming: Incoming,
        outgoing: Outgoing,
    ) -> None:
        self.shared = shared
        self.handler = handler
        self.context = context
        self.parser = parser
        self.incoming = incoming
        self.outgoing = outgoing
        self.phase: Phase = OPEN
        self.close_sent: Close | None = None
        self.close_rcvd: Close | None = None
        self.close_rcvd_then_sent: bool | None = None
        self._close_to_send: Ending | None = None
        # Answers that may still leave before the client's Close is answered.
        self._owed = 0
        self._pings: Pings | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_cancelled = self._is_counted = False
        self._end: asyncio.Future[None] | None = None
        self.follower: Follower | None = None

    def _begin(self, task: asyncio.Task[None]) -> None:
        """Count the connection, whose handler runs in this task."""
        self._task = task
        self._is_counted = True
        self.shared.counters.connections += 1
        self.shared.turn.touch()

    def to_state(self) -> State | None:
        """Return all that another worker needs to go on with this connection, as plain values.

        None while it cannot be written: when an end has begun, and within a compressed message that is
        too long to be inflated once more. Bytes that were written belong to the outlet until the system
        has them (``outgoing.unsent()``), and are not part of it; nor is what the handler knows.
        """
        parser = self.parser.to_state()
        if self.phase not in MOVABLE or parser is None:
            return None
        parser["unparsed"] += bytes(self.incoming.kept)
        return {
            "parser": parser,
            "messages": list(self.incoming.messages),
            "outgoing": self.outgoing.to_state(),
            "pings": self._pings.to_state() if self._pings is not None else None,
        }

    def continue_from(self, state: State, task: asyncio.Task[None]) -> None:
        """Begin, in place of ``_begin``, where another worker has left off."""
        incoming = self.incoming
        incoming.messages += state["messages"]
        incoming.more = self.parser.continue_from(state["parser"])
        incoming.attention = True
        self.outgoing.continue_from(state["outgoing"])
        if state["pings"] is not None:
            self._pings = Pings(asyncio.get_running_loop(), self.shared.clock)
            self._pings.continue_from(state["pings"])
        self._begin(task)

    def _on(self, event: Event) -> None:
        """Go to the next phase, and do what the table says."""
        self.phase, actions = TABLE[self.phase, event]
        for action in actions:
            self._do(action)

    # What is left to the socket's side

    def _do(self, action: Action) -> None:
        """Do what the table says."""
        raise NotImplementedError

    def pull(self) -> None:
        """Parse further what was read, and read on when all of it is parsed."""
        raise NotImplementedError

    # What the client does

    def _input_ended(self) -> None:
        """Its Close or its mistake was parsed: nothing behind that is."""
        parser, incoming = self.parser, self.incoming
        if parser.closed is not None:
            self.close_rcvd = parser.closed.close
            if self.close_sent is not None:
                self.close_rcvd_then_sent = False
        incoming.attention = True
        self._owed = incoming.owed(parser.received) if self.phase < OWED else 0
        self._on(Event.INPUT_ENDED_EARLY if self._owed else Event.INPUT_ENDED)

    def _take_pongs(self, pongs: Pongs) -> None:
        """Pongs have arrived: they may answer pings of the handler's."""
        if self._pings is not None:
            self._pings.answer(pongs)
            self._meet_pongs()
            self.incoming.attention = True

    def _meet_pongs(self, more: int = 0) -> None:
        if self._pings is not None:
            self._pings.meet(self.incoming.asked_for(self.parser.received) + more)

    def _act_on(self, verdict: Verdict | None) -> None:
        """End the connection as a limit says, unless it ends already."""
        if verdict is None:
            return
        if verdict.end is End.ABORT:
            self.shared.count_limit(verdict.limit)
            self._on(Event.ABORT)
        elif self.phase < CLOSING:
            self.shared.count_limit(verdict.limit)
            if verdict.end is End.CLOSE:
                self.close(verdict.code, verdict.reason)
                return
            self._close_to_send = ending(verdict.code, verdict.reason)
            self._tell(self._close_to_send.close)
            self._on(Event.FAIL)

    def exceeds(self, verdict: Verdict) -> None:
        """End the connection, unless it ends already: it is beyond a limit that is judged elsewhere."""
        self._act_on(verdict)

    # What the handler and the server want

    def caught_up(self) -> None:
        """The handler has taken and answered everything: what was waiting for that goes on."""
        if self.incoming.has_unparsed or self.incoming.in_hand:
            return
        if self._pings is not None:
            self._meet_pongs(1)
        self._on(_CAUGHT_UP)

    def may_send(self) -> bool:
        """Whether a message may still leave in this phase.

        When the client has ended its input only answers to what came before may. A handler that streams
        on would otherwise hold back our Close, which is due as soon as practical (RFC 6455, 5.5.1): its
        first message beyond the answers that it owes makes room for it.
        """
        if self.phase < OWED:
            return True
        if self.phase is not OWED:
            return False
        if not self._owed:
            self._on(_CAUGHT_UP)
            return False
        self._owed -= 1
        return True

    def ping(self, payload: bytes | None) -> Awaitable[float]:
        """Send a ping of the author's; the result, awaited, is the time until its pong in seconds.

        Raises:
            ConcurrencyError: A ping with this payload is waiting already.
        """
        if self._pings is None:
            self._pings = Pings(asyncio.get_running_loop(), self.shared.clock)
        self._meet_pongs()
        frame, latency = self._pings.add(payload)
        self.send_control(frame)
        self.parser.pongs_due += 1
        return latency

    @property
    def unanswered_pings(self) -> int:
        """Pings of the author's since the handler has last met a pong."""
        self._meet_pongs()
        return self._pings.unanswered if self._pings is not None else 0

    def close(self, code: int, reason: str) -> None:
        """Send our Close unless one was sent; the client's ends the connection.

        Raises:
            ProtocolError: The code must not be sent, or the reason is too long.
        """
        if self.phase < OWED:
            self._close_to_send = ending(code, reason)
        self._on(_CLOSE)

    def drain(self, code: int) -> None:
        """Read no more, let the handler answer what was read, then close."""
        begins = self.phase is OPEN
        if begins:
            self._close_to_send = ending(code, "")
        self._on(Event.DRAIN)
        incoming = self.incoming
        if begins and incoming.is_answered(self.parser.received):
            self.pull()
            if incoming.messages:
                incoming.wake()
            else:
                self.caught_up()

    def cancel(self, code: int) -> None:
        """Close now, whatever the handler is at, and cancel it."""
        self.close(code, "")
        if self._task is not None and not self._task.done():
            self.is_cancelled = True
            self._task.cancel()

    def abort(self) -> None:
        """End now, without waiting for the client."""
        self._on(Event.ABORT)

    # Actions

    def send_control(self, frame: bytes) -> None:
        """Send a control frame after the data that was gathered before it."""
        self.outgoing.gather(frame)
        self.outgoing.flush()

    def _answer(self) -> None:
        """Answer the client's Close, which repeats its code (RFC 6455, 5.5.1), or tell its mistake."""
        parser = self.parser
        if parser.closed is None and parser.failure is not None:
            close = parser.failure.close
            if close.code == CloseCode.MESSAGE_TOO_BIG:
                self.shared.count_limit("max-remote-payload")
            self._tell(close)
        self._write_close(parser.closed or parser.failure)

    def _send_close(self) -> None:
        self._write_close(self._close_to_send)

    def _write_close(self, closing: Ending | None) -> None:
        assert closing is not None
        self.close_sent = closing.close
        if self.close_rcvd is not None:
            self.close_rcvd_then_sent = True
        self.send_control(closing.frame)

    def _tell(self, close: Close) -> None:
        """Log why we close a connection that its client has not closed."""
        if self.close_rcvd is None:
            extra = {"connection": self.context.id}
            self.handler.logger.info("closing with %d: %s", close.code, close.reason, extra=extra)

    def _finish(self) -> None:
        """Tell all who wait for the end of the WebSocket."""
        self.incoming.attention = True
        self._count_out()
        if self._pings is not None:
            self._pings.end(self.closed_error())
        self.incoming.wake()
        if self.follower is not None:
            self.follower.connection_ended()
            self.follower = None
        if self._end is not None:
            self._end.set_result(None)
            self._end = None

    def _count_out(self) -> None:
        if self._is_counted:
            self._is_counted = False
            counters = self.shared.counters
            counters.connections -= 1
            counters.closed += 1
            self.shared.turn.publish_now()

    # The end, as others see it

    @property
    def is_finished(self) -> bool:
        """Whether the WebSocket is over."""
        return self.phase >= LINGERING

    @property
    def is_handled(self) -> bool:
        """Whether the handler has ended."""
        return self._task is None or self._task.done()

    def closed_error(self) -> ConnectionClosed:
        """Return the exception that says how it ended."""
        return closed_error(self.close_rcvd, self.close_sent, self.close_rcvd_then_sent)

    @property
    def close_code(self) -> int | None:
        """The code of the client's Close: 1005 if it had none, 1006 without a Close, None while open."""
        if not self.is_finished:
            return None
        return _NO_CLOSE if self.close_rcvd is None else int(self.close_rcvd.code)

    async def wait_finished(self) -> None:
        """Wait for the end of the connection as its handler sees it."""
        if not self.is_finished:
            if self._end is None:
                self._end = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._end)

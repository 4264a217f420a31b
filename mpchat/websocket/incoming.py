"""What has arrived and the handler has not taken, and the task that waits for the next message.

Rules. To asyncio this is a future (``_asyncio_future_blocking``, ``add_done_callback``, ``result``,
``cancel``), so a handler stays an ordinary task that may be cancelled and timed out. It has no result: a
task that wakes looks for its message itself. One object serves a connection for all of its messages.

Theory of operation. A future's result reaches its task through a callback in the loop's next turn: by
then a thousand other connections may have been read, and what belongs to this one has left the CPU's
caches. Here the task continues inside the callback that has read the message. That is allowed only where
no task is running, so all other code uses ``wake``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context

from mpchat.websocket.assembly import Message
from mpchat.websocket.thresholds import Thresholds

_NOBODY = Context()
"""In place of the context of a task, before one has waited"""


class Continuation:
    """Goes on in the stead of a task that waits, see ``stepping``.

    Only compiled code has one. It is a class, not a protocol, since a method in C is found by class.
    """

    __slots__ = ()

    def step(self) -> None:
        """Go on, now that a message has come."""
        raise NotImplementedError


class Incoming:
    """One connection's messages on their way to its handler.

    Attributes:
        messages: In order; always this list. The parser adds, ``recv`` takes; both do so without a call.
        more: Bytes were read that the parser has not come to.
        kept: Bytes that were read when the turn's budget was spent, for the parser as well.
        in_hand: How many messages the handler has taken and not answered, if it takes several before it
            answers; 0: it answers one before it takes the next.
        callback: Goes on with the task that waits, in ``context``; None while no task does.
        ahead: How often the handler will ask for a message before it has answered the one that is timed;
            0: none is.
        arrived: When the timed one was read, in seconds of the monotonic clock.
        lined_up: When the connection came into the line with what it had read; 0: it is in none.
        attention: A ``recv`` that is about to wait has to ask the protocol first: for messages that are
            not parsed yet, or for the end.
        is_paused: Too much has arrived; nothing is read until the handler asks for more.
        stepped: Goes on in the stead of the task that waits, without waking it.
        was_cancelled: The task was cancelled since ``stepped`` cleared this.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_behind",
        "_loop",
        "_polled",
        "_thresholds",
        "ahead",
        "arrived",
        "attention",
        "callback",
        "context",
        "in_hand",
        "is_paused",
        "kept",
        "lined_up",
        "messages",
        "more",
        "stepped",
        "was_cancelled",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, thresholds: Thresholds) -> None:
        # asyncio takes this attribute for want of a method get_loop, and compares it with its own.
        self._loop = loop
        self._asyncio_future_blocking = False
        self.context = _NOBODY
        self._thresholds = thresholds
        self.messages: list[Message] = []
        self.more = False
        self.kept: bytes | memoryview = b""
        self.in_hand = 0
        self.ahead = 0
        self.arrived = self.lined_up = 0.0
        self.callback: Callable[[Incoming], object] | None = None
        self.attention = False
        self.is_paused = False
        self.stepped: Continuation | None = None
        self.was_cancelled = False
        # Bytes that were read while messages waited: an estimate from above of what they hold.
        self._behind = 0
        # How many messages had been taken when the handler last found that there were no more.
        self._polled = 0

    # The parser's side

    def resume(self, callback: Callable[[Incoming], object]) -> None:
        """Run the task that waits, up to its next wait: for callbacks of the loop alone."""
        if self.stepped is not None:
            self.stepped.step()
            return
        self.callback = None
        self.context.run(callback, self)

    def wake(self) -> None:
        """Let the task that waits, if there is one, look again in the loop's next turn."""
        callback, self.callback, self.stepped = self.callback, None, None
        if callback is not None:
            self._loop.call_soon(callback, self, context=self.context)

    def is_full(self, size: int) -> bool:
        """Whether reading has to pause, after a read of ``size`` bytes."""
        waiting = len(self.messages)
        self._behind = self._behind + size if waiting else 0
        thresholds = self._thresholds
        return waiting >= thresholds.max_frames or self._behind >= thresholds.max_behind

    def time_last(self, now: float) -> None:
        """Time the handler's answer to the last message, which was read now or before it lined up."""
        # A handler that waits has asked for the first of them already.
        self.ahead = len(self.messages) + (self.callback is None)
        self.arrived = self.lined_up or now

    @property
    def has_unparsed(self) -> bool:
        """Whether something was read that the handler has not seen because others come first."""
        return self.more or bool(self.kept)

    def forget_unparsed(self) -> None:
        """Drop it: no handler asks for it any more."""
        self.more, self.kept = False, b""

    def pause(self) -> None:
        """Read no more until the handler asks."""
        self.attention = self.is_paused = True

    def unpause(self) -> None:
        """The handler has taken everything."""
        self.is_paused = False
        self._behind = 0

    # The handler's side; ``received`` is how many messages have arrived so far

    def asked_for(self, received: int) -> int:
        """Return how many messages the handler has taken, and one more while it waits."""
        return received - len(self.messages) + (self.callback is not None)

    def answered(self, received: int) -> None:
        """The handler has come back for more, and there is none: all so far is answered."""
        self._polled = received

    def is_answered(self, received: int) -> bool:
        """Whether the handler has answered what it has taken."""
        taken = received - len(self.messages)
        return taken in (0, self._polled) or self.callback is not None

    def owed(self, received: int) -> int:
        """Return how many messages are not answered: those that wait, and what the handler has taken."""
        return len(self.messages) + max(self.in_hand, not self.is_answered(received))

    def drop(self) -> None:
        """No handler takes any more."""
        self.messages.clear()

    # For asyncio's Task

    def __await__(self) -> Generator[Incoming, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def add_done_callback(
        self, callback: Callable[[Incoming], object], *, context: Context
    ) -> None:
        """A task begins to wait."""
        self.callback = callback
        self.context = context

    # The task calls this before it continues, for an error to raise, and drops what it returns. There is
    # no error, so any cheap call will do.
    result = bool

    def cancel(self, msg: object = None) -> bool:
        """Wake the task, which raises CancelledError since this was not cancelled in its stead."""
        self.was_cancelled = True
        self.wake()
        return False

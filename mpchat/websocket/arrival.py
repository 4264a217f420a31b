"""What a handler's task awaits for its next message: one awaitable for each connection, used many times.

Rules. To asyncio this is a future (``_asyncio_future_blocking``, ``add_done_callback``, ``result``,
``cancel``), so a handler stays an ordinary task that may be cancelled and timed out. It has no result:
who wakes up looks for himself.

Theory of operation. A future's result reaches its task through a callback in the loop's next turn: by
then a thousand other connections may have been read, and what belongs to this one has left the CPU's
caches. Here the task goes on within the callback that has read the message. That is allowed only there,
where no task is running; everybody else uses ``wake``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context

_NOBODY = Context()
"""In place of the context of a task, before one has waited"""


class Arrival:
    """The next message of one connection; one task at a time awaits it.

    Attributes:
        callback: Goes on with the task that waits; None if nobody does.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_loop", "callback")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # asyncio takes this attribute for want of a method get_loop, and compares it with its own.
        self._loop = loop
        self._asyncio_future_blocking = False
        self._context = _NOBODY
        self.callback: Callable[[Arrival], object] | None = None

    def resume(self, callback: Callable[[Arrival], object]) -> None:
        """Run the task that waits, up to its next wait: for callbacks of the loop alone."""
        self.callback = None
        self._context.run(callback, self)

    def wake(self) -> None:
        """Have the waiting task, if there is one, look again in the loop's next turn."""
        callback, self.callback = self.callback, None
        if callback is not None:
            self._loop.call_soon(callback, self, context=self._context)

    def __await__(self) -> Generator[Arrival, None, None]:
        self._asyncio_future_blocking = True
        yield self

    # For asyncio's Task

    def add_done_callback(self, callback: Callable[[Arrival], object], *, context: Context) -> None:
        """A task begins to wait."""
        self.callback = callback
        self._context = context

    # A task has been woken: there is no error to raise, and it does not look at what it gets.
    result = bool

    def cancel(self, msg: object = None) -> bool:
        """Wake the task, which raises CancelledError since this was not cancelled in its stead."""
        self.wake()
        return False

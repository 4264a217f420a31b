"""Logs what holds the event loop: the stack of a callback that takes longer than a threshold.

Rules. The loop only notes the time, four times within the threshold; a thread checks it. The thread warns
once each time that the loop stands still, and at most every ten seconds. It does not warn if the loop
runs no Python code: then the machine was suspended, or has no time for this process.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from mpchat.components.component import Component

_TICKS = 4
"""Ticks of the loop within the threshold."""
_REST = 10.0
"""Seconds after a warning in which further ones are only counted."""

log = logging.getLogger("mpchat.server")


class Watch:
    """Watches the event loop of the thread that creates it.

    ``stack`` returns the frames that the loop is running, the innermost first; none if the loop waits.
    """

    def __init__(
        self,
        threshold: float,
        stack: Callable[[], list[FrameType]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._stack = stack
        self._clock = clock
        self._ticked = clock()
        self._stuck_after: float | None = None
        """The tick after which the loop was last found standing still"""
        self._warned: float | None = None
        self._unreported = 0
        self._is_over = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the ticks in the loop, and the thread."""
        self._tick(loop)
        threading.Thread(target=self._run, name="slow-callbacks", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._is_over.set()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticked = self._clock()
        if not self._is_over.is_set():
            loop.call_later(self._threshold / _TICKS, self._tick, loop)

    def _run(self) -> None:
        wait = self._threshold
        while not self._is_over.wait(wait):
            wait = self.check()

    def check(self) -> float:
        """Check once; return the seconds until the next check."""
        now, ticked = self._clock(), self._ticked
        silent = now - ticked
        if silent < self._threshold:
            return self._threshold - silent
        if ticked != self._stuck_after:
            self._stuck_after = ticked
            self._warn(now, silent)
        return self._threshold

    def _warn(self, now: float, seconds: float) -> None:
        frames = self._stack()
        if not frames or any(frame.f_globals.get("__name__") == "bdb" for frame in frames):
            # The loop waits, or somebody looks at it in a debugger.
            return
        if self._warned is not None and now - self._warned < _REST:
            self._unreported += 1
            return
        self._warned = now
        more = f" ({self._unreported} more since the last warning)" if self._unreported else ""
        self._unreported = 0
        stack = "".join(traceback.format_list(traceback.StackSummary.extract(_lines(frames))))
        text = (
            f"{_who(frames)} has held the event loop for {seconds:.2f} s, and every client of this "
            f"worker waits{more}: run blocking calls with asyncio.to_thread"
        )
        # The logger's own stack would be that of this thread.
        record = log.makeRecord(
            log.name, logging.WARNING, __file__, 0, text, (), None, sinfo=stack.rstrip("\n")
        )
        if log.isEnabledFor(record.levelno):
            log.handle(record)


def stack_of_this_thread() -> Callable[[], list[FrameType]]:
    """Return a function that finds this thread's frames inside the caller, which runs the loop."""
    thread, outer = threading.get_ident(), sys._getframe(1)

    def stack() -> list[FrameType]:
        frames = []
        frame = sys._current_frames().get(thread)
        while frame is not None and frame is not outer:
            frames.append(frame)
            frame = frame.f_back
        return frames

    return stack


def _lines(frames: list[FrameType]) -> Iterator[tuple[FrameType, int]]:
    return ((frame, frame.f_lineno) for frame in reversed(frames))


def _who(frames: list[FrameType]) -> str:
    """Return the name of the innermost component whose code is running."""
    for frame in frames:
        for name in ("self", "handler"):
            if isinstance(component := frame.f_locals.get(name), Component):
                return component.name
    return "a callback"

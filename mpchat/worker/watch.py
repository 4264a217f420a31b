"""Names what holds the event loop: a callback that runs for longer than a threshold.

Rules. A thread looks four times within the threshold at which callback the loop runs, and asks the loop
to answer. The same callback, and no answer yet: it has held the loop since the first of these looks. A
loop that waits is not asked. ``slow-callback-threshold`` warns while the callback still runs, the
profiler of the dynamic config tells at its end how long it was. Of each component each of the two logs a
line at most every ten seconds. Nothing is said if the loop runs no Python code: then the machine was
suspended, or has no time for this process.

Theory of operation. Many short callbacks may keep the loop from answering, too; only a callback's
outermost frame tells that it is still the same one. That of a coroutine is the same in every step: only
the answer tells that it has been suspended meanwhile. uvloop may come to the answer one turn late, so
that two steps of one busy connection count as one.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mpchat.components.component import Component
from mpchat.dynamic_config.variables import ProfilerDebug

_LOOKS = 4
"""Looks within the threshold"""
_SHORTEST_PAUSE = 0.0005
"""Between two looks: more of them would take a tenth of a core."""
_REST = 10.0
"""Seconds after a line in which further ones of the same component are only counted."""
_PLACES = 8
"""Innermost calls that the profiler's line names"""

log = logging.getLogger("mpchat.server")


@dataclass(slots=True)
class _Hold:
    """A callback, and how long it has been seen to run."""

    callback: FrameType
    """Its outermost frame"""
    since: float
    seen: float
    is_warned: bool = False
    found: tuple[str, traceback.StackSummary] | None = None
    """Who it is and where it was when it reached the profiler's threshold"""


@dataclass(slots=True)
class _Said:
    """When a component was last named, and what has been left out since."""

    at: float
    more: list[float] = field(default_factory=list)


class Watch:
    """Watches the event loop of the thread that creates it.

    Args:
        threshold: Seconds after which a callback is warned of; 0 means never.
        stack: Returns the frames that the loop is running, the innermost first; none if the loop waits.
        call_soon: The loop's ``call_soon_threadsafe``.
        clock: Seconds.
    """

    def __init__(
        self,
        threshold: float,
        stack: Callable[[], list[FrameType]],
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._profile: ProfilerDebug | None = None
        self._stack = stack
        self._call_soon = call_soon
        self._clock = clock
        self._hold: _Hold | None = None
        self._is_asked = False
        """Whether the loop has not come to its answer yet"""
        self._said: dict[tuple[int, str], _Said] = {}
        self._switch_interval = sys.getswitchinterval()
        self._pause: float | None = None
        """Seconds between two looks; None means that nobody has to look"""
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._changed = threading.Event()

    def follow(self, profile: ProfilerDebug | None) -> None:
        """Watch with these settings of the profiler from now on; None means without it."""
        self._profile = profile
        thresholds = [self._threshold] if self._threshold else []
        if profile is not None:
            thresholds.append(profile.execution_slice_threshold_us / 1e6)
        self._pause = max(_SHORTEST_PAUSE, min(thresholds) / _LOOKS) if thresholds else None
        # Else a thread that wants to look waits 5 ms for the interpreter.
        quick = self._switch_interval if profile is None else self._pause
        sys.setswitchinterval(min(self._switch_interval, quick or self._switch_interval))
        if self._pause is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slow-callbacks", daemon=True)
            self._thread.start()
        self._changed.set()

    def stop(self) -> None:
        """Stop watching."""
        self._is_over = True
        self.follow(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over:
            if self._changed.wait(self._pause):
                self._changed.clear()
                self._hold = None
            else:
                self.check()

    def check(self) -> None:
        """Look once."""
        now, frames = self._clock(), self._stack()
        callback = frames[-1] if frames else None
        hold = self._hold
        if hold is not None and (callback is not hold.callback or not self._is_asked):
            self._hold = None
            self._end(hold)
            hold = None
        if callback is None:
            return
        if hold is not None:
            hold.seen = now
            self._judge(hold, frames)
            return
        self._hold = _Hold(callback, now, now)
        if not self._is_asked:
            self._is_asked = True
            self._call_soon(self._answer)

    def _answer(self) -> None:
        self._is_asked = False

    def _judge(self, hold: _Hold, frames: list[FrameType]) -> None:
        seconds, profile = hold.seen - hold.since, self._profile
        warns = self._threshold and seconds >= self._threshold and not hold.is_warned
        finds = (
            profile is not None
            and seconds * 1e6 >= profile.execution_slice_threshold_us
            and hold.found is None
        )
        if not (warns or finds):
            return
        if any(frame.f_globals.get("__name__") == "bdb" for frame in frames):
            # Somebody looks at it in a debugger.
            return
        who, stack = _who(frames), traceback.StackSummary.extract(_lines(frames))
        if finds:
            hold.found = who, stack
        if warns:
            hold.is_warned = True
            if (more := self._may_say(logging.WARNING, who, hold)) is not None:
                text = (
                    f"{who} has held the event loop for {seconds:.2f} s, and every client of this "
                    f"worker waits{more}: run blocking calls with asyncio.to_thread"
                )
                _say(logging.WARNING, text, stack)

    def _end(self, hold: _Hold) -> None:
        """Tell of a callback that the profiler has found."""
        profile = self._profile
        if hold.found is None or profile is None:
            return
        who, stack = hold.found
        if (more := self._may_say(logging.ERROR, who, hold)) is not None:
            calls = stack[: -_PLACES - 1 : -1]
            places = ", ".join(
                f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in calls
            )
            text = (
                f"{who} held the event loop for {(hold.seen - hold.since) * 1000:.1f} ms, "
                f"execution-slice-threshold-us is {profile.execution_slice_threshold_us}{more}: "
                f"in {places}"
            )
            _say(logging.ERROR, text, stack if profile.profiler_force_stacktrace else None)

    def _may_say(self, level: int, who: str, hold: _Hold) -> str | None:
        """Return what a line adds about those that were left out; None if this is one of them."""
        said = self._said.get((level, who))
        if said is not None and hold.seen - said.at < _REST:
            said.more.append(hold.seen - hold.since)
            return None
        self._said[level, who] = _Said(hold.seen)
        if said is None or not said.more:
            return ""
        return f" ({len(said.more)} more since the last line, up to {max(said.more):.3f} s)"


def profile_of(profiles: dict[str, ProfilerDebug], pool: str) -> ProfilerDebug | None:
    """Return the profiler's settings for the workers' pool, None if they turn it off.

    Source: userver looks for the task processor's name, then for ``default-task-processor``.
    """
    profile = profiles.get(pool, profiles.get("default-task-processor"))
    return profile if profile is not None and profile.enabled else None


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


def _say(level: int, text: str, stack: traceback.StackSummary | None) -> None:
    # The logger's own stack would be that of this thread.
    lines = "".join(stack.format()).rstrip("\n") if stack is not None else None
    record = log.makeRecord(log.name, level, __file__, 0, text, (), None, sinfo=lines)
    if log.isEnabledFor(level):
        log.handle(record)


def _lines(frames: list[FrameType]) -> Iterator[tuple[FrameType, int]]:
    return ((frame, frame.f_lineno) for frame in reversed(frames))


def _who(frames: list[FrameType]) -> str:
    """Return the name of the innermost component whose code is running."""
    for frame in frames:
        for name in ("self", "handler"):
            if isinstance(component := frame.f_locals.get(name), Component):
                return component.name
    return "a callback"

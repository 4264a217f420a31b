"""One turn of the worker's event loop: its budget, who waits for the next one, what is done at its end.

Rules.
- All connections of a worker share the budget of a turn. A connection that comes when it is spent keeps
  what was read, stops reading, and waits in a line, first in, first out.
- Each turn begins with a new budget and with the lines. A member is served at most once in a turn; one
  that has more to do goes to the end of its line. What is read afterwards has what is left of the budget.
- As many members read on as the budget is enough for: each promises the work of its next read. Others
  stay in the line, unread, since many small reads cost more than a few large ones.
- There are two lines, which alternate: open WebSockets, and everything else (requests, handshakes,
  sockets to accept, connections that have ended). So however many of the others come at once, open
  WebSockets wait for each other only.
- What all have read and not parsed has a limit. Beyond it every other connection stops reading, too, and
  joins the line.
- Rare events are published at the end of their turn, counts of messages a hundred times a second: a
  callback in each turn would cost a message that comes alone a tenth of its time. For the same reason a
  turn in which little is done has no end of its own: its work counts with that of the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mpchat.scoreboard.histogram import Histogram
from mpchat.scoreboard.histograms import Histograms
from mpchat.websocket.budget import Budget
from mpchat.websocket.incoming import Incoming
from mpchat.websocket.thresholds import Thresholds


class HasTurnWork(Protocol):
    """A connection that has something to do when the turn ends."""

    def end_turn(self) -> None:
        """Do what has been gathered."""


class Waiting(Protocol):
    """A member of a line."""

    def serve(self) -> None:
        """Go on, within the budget; it has left the line, and may join it again."""


Line = deque[tuple[Waiting, int]]
"""Members in order, each with the bytes that it keeps meanwhile"""

_SERVED = 2_000
"""Work of serving a member that has nothing to do."""
_ALWAYS = 1 << 62


class Turn(Budget):
    """The present turn, shared by all connections of a worker.

    Attributes:
        untimed: Messages that will come before the handler's answer to one is timed.
        now, answers: The clock by which, and where the time is counted in microseconds.
        will_publish: The counters of messages will be published soon. The hot path looks here before it
            calls ``publish_soon``.
        max_frames: Frames to parse for one connection at a time.
        open_line, new_line: The lines of open WebSockets, and of everything else.
        kept: Bytes that the members of the lines have read and not parsed.
        on_full: Called when more than ``max_kept_bytes`` is kept: all connections have to stop reading
            and line up.
        promised: Work of the reads that members of the lines, served in this turn, are expected to bring.
        is_full: More was kept, and at least half of that limit still is. A member that is served
            meanwhile does not read on; it joins its line again.
    """

    __slots__ = (
        "_is_scheduled",
        "_line",
        "_loop",
        "_members",
        "_publish",
        "_publish_traffic",
        "_timed_every",
        "_touched",
        "answers",
        "is_full",
        "kept",
        "max_frames",
        "new_line",
        "now",
        "on_full",
        "open_line",
        "promised",
        "untimed",
        "will_publish",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        publish: Callable[[], None],
        publish_traffic: Callable[[], None],
        thresholds: Thresholds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._publish = publish
        self._publish_traffic = publish_traffic
        self._members: list[HasTurnWork] = []
        self._touched = False
        self._is_scheduled = False
        self.will_publish = False
        self.open_line: Line = deque()
        self.new_line: Line = deque()
        self.max_frames = thresholds.max_frames
        self.kept = 0
        self.promised = 0
        self.untimed = self._timed_every = thresholds.timed_every
        self.now: Callable[[], float] = time.monotonic
        self.answers = Histograms.apart().handling
        self._line = 1
        self.is_full = False
        self.on_full: Callable[[], None] = lambda: None
        super().__init__(thresholds, clock)

    def renew(self) -> None:
        """A new turn begins."""
        Budget.renew(self)
        self.promised = 0
        if not self.will_publish:
            self.mark = _ALWAYS

    def look(self) -> None:
        """Look at the clock, and see to it that the turn ends and its counters are published."""
        self.publish_soon()
        if self.left < self._look_at:
            Budget.look(self)
            self._schedule()
        self.mark = self._look_at

    def join(self, member: HasTurnWork) -> None:
        """Have ``member.end_turn`` called when this turn ends."""
        self._members.append(member)
        self._schedule()

    def line_up(self, line: Line, member: Waiting, kept: int = 0) -> None:
        """Have ``member.serve`` called when its place in the line has come; it keeps so many bytes."""
        line.append((member, kept))
        self.kept += kept
        self._schedule()
        if self.kept > self.thresholds.max_kept_bytes and not self.is_full:
            self.is_full = True
            self.on_full()

    def time_answers(self, now: Callable[[], float], answers: Histogram) -> None:
        """Time answers by this clock, and count them there."""
        self.now, self.answers = now, answers

    def time_one(self, incoming: Incoming) -> None:
        """Time the answer to the last message of a connection, unless one before it is timed."""
        if not incoming.ahead:
            self.untimed = self._timed_every
            incoming.time_last(self.now())

    def answered(self, incoming: Incoming) -> None:
        """The answer that was timed is complete."""
        now = self.now()
        self.answers.observe(int((now - incoming.arrived) * 1_000_000))

    @property
    def is_crowded(self) -> bool:
        """Whether so many wait that each is served shortly."""
        return len(self.open_line) > self.thresholds.crowd

    def touch(self) -> None:
        """Have all counters published when this turn ends."""
        self._touched = True
        self._schedule()

    def publish_soon(self) -> None:
        """Have the counters of traffic published soon."""
        if not self.will_publish:
            self.will_publish = True
            self._loop.call_later(self.thresholds.publish_seconds, self._publish_counted)

    def publish_now(self) -> None:
        """Publish the counters at once: before a socket is closed they are up to date."""
        self._publish()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._is_scheduled = False
        try:
            self._flush()
            self.renew()
            if self.open_line or self.new_line:
                self._serve()
                self._flush()
        finally:
            # Also after a failure: the others still wait.
            if self.open_line or self.new_line or self._members:
                self._schedule()
        if self._touched:
            self._touched = False
            self._publish()

    def _flush(self) -> None:
        members, self._members = self._members, []
        for member in members:
            member.end_turn()
        if members:
            # What was gathered is counted when it is written.
            self.publish_soon()

    def _serve(self) -> None:
        lines = self.open_line, self.new_line
        waiting = [len(line) for line in lines]
        thresholds = self.thresholds
        crowded = self.is_crowded
        self.max_frames = thresholds.max_frames_in_crowd if crowded else thresholds.max_frames
        while any(waiting) and self.left > self.promised:
            # Kept from turn to turn: one in the first line may need all of each.
            self._line = 1 - self._line
            if waiting[self._line]:
                waiting[self._line] -= 1
                self._serve_first(lines[self._line])

    def _serve_first(self, line: Line) -> None:
        member, kept = line.popleft()
        self.kept -= kept
        if self.is_full and self.kept <= self.thresholds.max_kept_bytes // 2:
            self.is_full = False
        self.charge(_SERVED)
        member.serve()

    def _publish_counted(self) -> None:
        self.will_publish = False
        self.mark = _ALWAYS
        self._publish_traffic()

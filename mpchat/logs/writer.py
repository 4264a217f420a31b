"""The thread that writes a worker's log lines, and the queue of each logger.

Rules. A logging call only queues. A line at its logger's flush level wakes the thread at once; so do the
first line after a silence and, in a crowded queue, every ``_CROWD``-th. Other lines wait a moment and are
written together, since waking the thread for each costs more than writing it. When a queue is full, the
line is dropped and counted, or the logging call waits, as the option says. A log that takes nothing
delays no other: the thread polls before it writes. A log reports its losses once it takes lines again.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence

from mpchat.errors import describe_os_error
from mpchat.loglines.file import LogFile, Losses
from mpchat.loglines.line import LINE_BYTES

GATHER_SECONDS = 0.02
"""Seconds that a line below its logger's flush level may wait to be written with others."""
_REPORT_SECONDS = 1.0
"""Seconds between reports of a log that keeps losing lines."""
_STOP_SECONDS = 1.0
"""Seconds that the end of a worker may wait for the thread."""
_CROWD = 1024
"""Queued lines after which a logging call yields to the thread."""
_YIELD_SECONDS = 0.0001
"""Seconds of that yield: time enough for some hundred lines."""

COUNTED_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
_FIRST_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
"""Where each of them but the first begins"""

Describe = Callable[[int, str], bytes]
"""Makes a line from a level and a text, for the queue's own reports."""


class LineQueue:
    """The lines of one logger on their way to its file."""

    def __init__(self, file: LogFile, size: int, describe: Describe, *, block: bool) -> None:
        self.file = file
        self.lines: deque[bytes] = deque()
        self.is_stuck = False
        self._size = size
        self._crowd = min(_CROWD, max(1, size // 2))
        self._describe = describe
        self._block = block
        self._room = threading.Condition()
        self._losses = Losses()
        self._report_at = 0.0
        # One side changes each: the logging call (under the handler's lock) or the thread.
        self._dropped = 0
        self._failed = 0
        self._dropped_reported = 0
        # Lines by level, in the order of COUNTED_LEVELS; the handler's lock admits one thread at a time.
        self.by_level = [0] * len(COUNTED_LEVELS)

    @property
    def lost(self) -> int:
        """Number of lines ever lost."""
        return self._dropped + self._failed

    def count(self, level: int) -> None:
        """Count a line of this level, whether or not it will be lost."""
        self.by_level[bisect_right(_FIRST_LEVELS, level)] += 1

    def put(self, line: bytes) -> bool:
        """Queue a line and return True, or count it as lost and return False.

        A blocking queue waits for room instead.
        """
        if len(self.lines) >= self._size:
            if not self._block:
                self._dropped += 1
                return False
            with self._room:
                self._room.wait_for(lambda: len(self.lines) < self._size)
        self.lines.append(line)
        return True

    @property
    def is_crowded(self) -> bool:
        """Whether the caller should let the thread run, since another ``_CROWD`` of lines waits."""
        return len(self.lines) % self._crowd == 0

    # For the thread

    def write(self) -> bool:
        """Write the lines queued now, as far as the file takes them; return whether it took any."""
        left = len(self.lines)
        took = self.is_stuck = False
        while left:
            batch = self._next(left)
            try:
                if not self.file.ready():
                    self.is_stuck = True
                    break
                self.file.write(b"".join(batch))
            except BlockingIOError:
                self.is_stuck = True
                break
            except OSError as error:
                self._failed += len(batch)
                self._losses.add(len(batch), describe_os_error(error))
            left -= len(batch)
            self._forget(len(batch))
            took = True
        self._report_losses()
        return took

    def reopen(self) -> str | None:
        """Open the file that is now at the path; return why that failed, or None."""
        trouble = self.file.reopen()
        if trouble is not None:
            self._write_own(logging.ERROR, trouble)
        return trouble

    @property
    def has_unreported_losses(self) -> bool:
        """Whether lines were lost that the log has not reported."""
        return self._losses.text() is not None or self._dropped != self._dropped_reported

    def _next(self, most: int) -> list[bytes]:
        """Return the oldest lines that fit into one write."""
        size = 0
        batch: list[bytes] = []
        for index in range(most):
            size += len(self.lines[index])
            if size > LINE_BYTES:
                break
            batch.append(self.lines[index])
        return batch

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self.lines.popleft()
        if self._block:
            with self._room:
                self._room.notify_all()

    def _report_losses(self) -> None:
        if not self.has_unreported_losses:
            return
        now = time.monotonic()
        if self.lines and now < self._report_at:
            return
        dropped = self._dropped
        if dropped != self._dropped_reported:
            self._losses.add(dropped - self._dropped_reported, "the queue was full")
            self._dropped_reported = dropped
        text = self._losses.text()
        if text is not None and self._write_own(logging.WARNING, text):
            self._losses.reported()
            self._report_at = now + _REPORT_SECONDS

    def _write_own(self, level: int, text: str) -> bool:
        try:
            if self.file.ready():
                self.file.write(self._describe(level, text))
                return True
        except OSError:
            # Losses stay unreported, and are reported later.
            return False
        return False


class LogWriter:
    """The writing thread of a process, and its wake-up."""

    def __init__(self, queues: Sequence[LineQueue]) -> None:
        self._queues = queues
        self._asleep = False
        self._reopenings: deque[Callable[[list[str]], None]] = deque()
        self._ending = False
        self._wake_up = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="mpchat-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Number of lines ever lost."""
        return sum(queue.lost for queue in self._queues)

    def lines_by_level(self) -> list[int]:
        """Return how many lines there were of each of COUNTED_LEVELS, lost ones included."""
        levels = range(len(COUNTED_LEVELS))
        return [sum(queue.by_level[level] for queue in self._queues) for level in levels]

    def put(self, queue: LineQueue, line: bytes, *, urgent: bool) -> None:
        """Queue a line; if it is urgent, have it written at once."""
        if not queue.put(line) or queue.is_stuck:
            # The line was dropped, or the thread already waits for the log to take more.
            return
        crowded = queue.is_crowded
        if urgent or crowded or self._asleep:
            self._wake()
        if crowded:
            # A busy loop takes back the interpreter's lock before the waking thread can get it.
            time.sleep(_YIELD_SECONDS)

    def reopen(self, done: Callable[[list[str]], None]) -> None:
        """Have the thread open the files that are now at the paths; does not wait for it.

        The thread then calls ``done`` with a sentence for each file that it could not open.
        """
        self._reopenings.append(done)
        self._wake()

    def stop(self) -> None:
        """Write what is queued, for at most a second."""
        self._ending = True
        self._wake()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while True:
            while self._reopenings:
                found = [queue.reopen() for queue in self._queues]
                self._reopenings.popleft()([trouble for trouble in found if trouble is not None])
            took = [queue.write() for queue in self._queues]
            if self._ending and not any(queue.lines for queue in self._queues):
                return
            self._sleep(gather=any(took))

    def _wake(self) -> None:
        self._asleep = False
        os.eventfd_write(self._wake_up, 1)

    def _sleep(self, *, gather: bool) -> None:
        """Wait for a wake-up, for room in a stuck log, or for the next batch."""
        poller = select.poll()
        poller.register(self._wake_up, select.POLLIN)
        for queue in self._queues:
            if queue.is_stuck:
                gather = True
                if queue.file.can_be_full:
                    poller.register(queue.file.fileno(), select.POLLOUT)
        self._asleep = not gather
        if gather:
            seconds = GATHER_SECONDS
        elif any(queue.lines for queue in self._queues) or self._ending or self._reopenings:
            # It came before ``_asleep`` was set, so without a wake-up.
            return
        elif any(queue.has_unreported_losses for queue in self._queues):
            seconds = _REPORT_SECONDS
        else:
            seconds = None
        poller.poll(None if seconds is None else seconds * 1000)
        self._asleep = False
        try:
            os.eventfd_read(self._wake_up)
        except BlockingIOError:
            return

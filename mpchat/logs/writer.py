"""The thread that writes a worker's log lines, and the queue of each logger.

Rules. Who logs only queues. A line at its logger's flush level wakes the thread at once; so does the
first after a silence, and each of so many that crowd a queue. Others wait a moment and are written
together, since to wake the thread for each costs more than to write it. A full queue costs the line,
which is counted, or holds up who logs, as the option says. A log that takes nothing holds no other up:
the thread looks before it writes. What was lost is told in the log that lost it, when it takes lines.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from mpchat.errors import describe_os_error
from mpchat.ipc.logfile import LogFile, Losses
from mpchat.ipc.logline import LINE_BYTES

GATHER_SECONDS = 0.02
"""How long a line below its logger's flush level may wait to be written with others."""
_TELL_SECONDS = 1.0
"""How often a log that loses lines all the time says so."""
_STOP_SECONDS = 1.0
_CROWD = 1024
"""After so many lines that wait, who logs lets the thread run..."""
_YIELD_SECONDS = 0.0001
"""...for this long: enough for hundreds of them."""

Describe = Callable[[int, str], bytes]
"""Makes a line of a level and a text: what a queue has to say itself."""


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
        self._tell_at = 0.0
        # Each is changed by one side only: by who logs (under the handler's lock), by the thread.
        self._dropped = 0
        self._failed = 0
        self._dropped_told = 0

    @property
    def lost(self) -> int:
        """How many lines were not written, ever."""
        return self._dropped + self._failed

    def put(self, line: bytes) -> bool:
        """Queue a line, or count it as lost and return False.

        Where the option says so it waits for room instead, and holds up who logs.
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
        """Whether so many lines wait that the thread should be given a chance to run."""
        return len(self.lines) % self._crowd == 0

    # For the thread

    def write(self) -> bool:
        """Write what is queued now, as far as the file takes it; return whether it took any."""
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
        self._tell()
        return took

    def reopen(self) -> None:
        """Begin the file that is now at the path."""
        trouble = self.file.reopen()
        if trouble is not None:
            self._write_own(logging.ERROR, trouble)

    @property
    def has_to_tell(self) -> bool:
        """Whether lines were lost that the log does not say yet."""
        return self._losses.text() is not None or self._dropped != self._dropped_told

    def _next(self, most: int) -> list[bytes]:
        """Return the oldest lines, as many as fit into one write."""
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

    def _tell(self) -> None:
        if not self.has_to_tell:
            return
        now = time.monotonic()
        if self.lines and now < self._tell_at:
            return
        dropped = self._dropped
        if dropped != self._dropped_told:
            self._losses.add(dropped - self._dropped_told, "the queue was full")
            self._dropped_told = dropped
        text = self._losses.text()
        if text is not None and self._write_own(logging.WARNING, text):
            self._losses.told()
            self._tell_at = now + _TELL_SECONDS

    def _write_own(self, level: int, text: str) -> bool:
        try:
            if self.file.ready():
                self.file.write(self._describe(level, text))
                return True
        except OSError:
            # Losses stay untold, and are told later.
            return False
        return False


class LogWriter:
    """The one thread of a process that writes, and its wake-up."""

    def __init__(self, queues: Sequence[LineQueue]) -> None:
        self._queues = queues
        self._asleep = False
        self._reopen = False
        self._ending = False
        self._wake_up = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="mpchat-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines were not written, ever."""
        return sum(queue.lost for queue in self._queues)

    def put(self, queue: LineQueue, line: bytes, *, urgent: bool) -> None:
        """Queue a line; urgent: it is to be written at once."""
        if not queue.put(line) or queue.is_stuck:
            # There is nothing to write, or the thread waits for the log to take more.
            return
        crowded = queue.is_crowded
        if urgent or crowded or self._asleep:
            self._wake()
        if crowded:
            # A busy loop takes the interpreter's lock back faster than the thread wakes up to have it.
            time.sleep(_YIELD_SECONDS)

    def reopen(self) -> None:
        """Have all files begun that are now at their paths; does not wait for it."""
        self._reopen = True
        self._wake()

    def stop(self) -> None:
        """Write what is queued, for at most a second."""
        self._ending = True
        self._wake()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while True:
            if self._reopen:
                self._reopen = False
                for queue in self._queues:
                    queue.reopen()
            took = [queue.write() for queue in self._queues]
            if self._ending and not any(queue.lines for queue in self._queues):
                return
            self._sleep(gather=any(took))

    def _wake(self) -> None:
        self._asleep = False
        os.eventfd_write(self._wake_up, 1)

    def _sleep(self, *, gather: bool) -> None:
        """Wait for a reason to look again."""
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
        elif any(queue.lines for queue in self._queues) or self._ending or self._reopen:
            # It came before anybody could see that we are asleep.
            return
        elif any(queue.has_to_tell for queue in self._queues):
            seconds = _TELL_SECONDS
        else:
            seconds = None
        poller.poll(None if seconds is None else seconds * 1000)
        self._asleep = False
        try:
            os.eventfd_read(self._wake_up)
        except BlockingIOError:
            return

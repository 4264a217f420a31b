"""Signals of the supervisor: handlers only record, the main loop acts.

Rules. The command blocks signals before its exec, so none is lost or deadly while the supervisor boots;
``Signals`` installs handlers and unblocks. A wake-up descriptor ends the loop's wait. Every signal
counts: a second TERM or INT stops at once, each TTIN or TTOU is one worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from types import FrameType

from mpchat.linux import system

HANDLED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Signals:
    """Signals that have arrived and have not been acted on."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque()
        self._reader, writer = system.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        system.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in HANDLED:
            system.sigaction(number, self._record)
        system.sigmask(signal.SIG_UNBLOCK, HANDLED)

    def fileno(self) -> int:
        return self._reader

    @property
    def count(self) -> int:
        """Number of signals that have not been acted on."""
        return len(self._seen)

    def drain(self) -> None:
        """Empty the pipe, so that the next signal ends a wait again.

        Raises:
            OSError: The system refuses it; the signals themselves are recorded all the same.
        """
        with contextlib.suppress(BlockingIOError):
            while system.read(self._reader, 4096):
                pass

    def take(self) -> signal.Signals:
        """Return the oldest signal that has not been acted on; there has to be one."""
        return signal.Signals(self._seen.popleft())

    def put_back(self, number: signal.Signals) -> None:
        """Put a signal in front: it could not be acted on."""
        self._seen.appendleft(number)

    def close(self) -> None:
        """Block signals: the process is about to end, and Python would remove its handlers."""
        system.sigmask(signal.SIG_BLOCK, HANDLED)
        system.set_wakeup_fd(-1)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._seen.append(number)

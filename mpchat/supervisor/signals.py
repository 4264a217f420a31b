"""Signals of the supervisor: handlers only record, the main loop acts.

Rules. The command blocks them before its exec, so none is lost or deadly while the supervisor boots;
``Signals`` installs handlers and unblocks. A wake-up descriptor ends the loop's wait. The same signal
twice counts twice for TERM and INT only: there it means "now".
"""

from __future__ import annotations

import os
import signal
from collections import deque
from types import FrameType

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
    """What has arrived and not been acted on."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque()
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, self._record)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def fileno(self) -> int:
        return self._reader

    def take(self) -> list[signal.Signals]:
        """Return the signals since the last call, oldest first."""
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass
        seen = []
        while self._seen:
            seen.append(signal.Signals(self._seen.popleft()))
        return seen

    def close(self) -> None:
        """Hold back what still comes: the end has begun, and Python takes its handlers down in it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        signal.set_wakeup_fd(-1)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._seen.append(number)

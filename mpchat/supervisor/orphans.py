"""Processes that workers have left behind: found among our own children, and ended.

Rules. The kernel gives us the orphans of all our descendants (see ``become_subreaper``). The orphans of a
worker that has ended are killed, whatever their session; those of a living worker may be at work. When
the service ends, all orphans are killed. Strangers are left alone: children that we had before the
service began and, where we are PID 1, processes that ``docker exec`` leaves behind.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

from mpchat.ipc.descent import children_of, worker_of
from mpchat.linux import system
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log

_AGAIN_SECONDS = 0.1
_END_SECONDS = 0.02


class Orphans:
    """The orphans of one service; made before it has any child.

    Attributes:
        due: When to look next; None while no worker has ended.

    Raises:
        OSError: The system does not list our children.
    """

    def __init__(self, family: Family, log: Log) -> None:
        self.due: float | None = None
        self._family = family
        self._log = log
        self._pid = os.getpid()
        self._has_strangers = self._pid == 1 or bool(children_of(self._pid))

    def look(self, now: float) -> None:
        """End the orphans of workers that are gone; look again soon if there were any, for theirs."""
        if self.due is None or now < self.due:
            return
        living = {worker.pid for worker in self._family.workers.values() if worker.lives}
        left = [pid for pid, worker in self._found() if worker and worker not in living]
        for pid in left:
            self._log.warning(f"pid {pid} is killed: its worker has ended")
            self._kill(pid)
        self.due = now + _AGAIN_SECONDS if left else None

    def end(self, limit: float, reap: Callable[[float], None]) -> None:
        """End all orphans within ``limit`` seconds; the service's own processes have ended already."""
        deadline = time.monotonic() + limit
        while (now := time.monotonic()) < deadline:
            reap(now)
            left = [pid for pid, worker in self._found() if worker or not self._has_strangers]
            if not left:
                return
            for pid in left:
                self._kill(pid)
            system.sleep(_END_SECONDS)

    def _found(self) -> Iterator[tuple[int, int]]:
        """Return our children that are not the service's own, each with the worker it comes from or 0."""
        ours = {child.pid for child in self._family}
        for pid in children_of(self._pid):
            if pid not in ours:
                try:
                    yield pid, worker_of(pid)
                except OSError:
                    # It has ended meanwhile, or is another user's: its worker is unknown.
                    yield pid, 0

    def _kill(self, pid: int) -> None:
        try:
            # It is our child, and nobody but us takes its exit status.
            system.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

"""Looking after the one process of a kind that serves: it has to become ready, and its loop to turn.

Rules. The time for a start is limited. A loop that stands still is ended by SIGABRT, so that the process
leaves its stack behind, and by SIGKILL if it does not end of that.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from mpchat.supervisor.child import Child
from mpchat.supervisor.heartbeats import Beat, Heartbeats
from mpchat.supervisor.log import Log
from mpchat.supervisor.timing import Timing


class Vigil:
    """Looks after the present process of a kind.

    Attributes:
        kill_at: When it is to be killed, since it was told to end or is stuck; None: it is not.
    """

    def __init__(self, timing: Timing, log: Log, beat: Callable[[], Beat]) -> None:
        """``beat`` reads the heartbeat of the present process."""
        self.kill_at: float | None = None
        self._timing = timing
        self._log = log
        self._beat = beat
        self._heartbeats = Heartbeats(timing.help)

    def due(self, child: Child, since: float) -> float:
        """Return when ``look`` has something to do for a process that was asked for at ``since``."""
        if self.kill_at is not None:
            return self.kill_at
        return self._heartbeats.next_look if child.ready else since + self._timing.start_limit

    def look(self, child: Child, since: float, hang_timeout: float, now: float) -> str:
        """Return why the process has to be killed now, or nothing."""
        if self.kill_at is not None:
            return (child.kill_reason or "it did not end in time") if self.kill_at <= now else ""
        if not child.ready:
            if since + self._timing.start_limit > now:
                return ""
            self._log.error(f"the {child.name} pid {child.pid} is killed: it was not ready in time")
            return "it was not ready in time"
        if now >= self._heartbeats.next_look:
            self._heartbeats.look({child.pid: self._beat()}, now)
            stale = self._heartbeats.stale(child.pid)
            if stale >= hang_timeout:
                self._abort(child, stale, now)
        return ""

    def ended(self) -> None:
        """The process is gone."""
        self.kill_at = None

    def _abort(self, child: Child, stale: float, now: float) -> None:
        self._log.error(
            f"the {child.name} pid {child.pid} is stuck: its event loop has not turned for "
            f"{stale:.1f} s; it is ended, its stack follows"
        )
        child.kill_reason = "it was stuck"
        self.kill_at = now + self._timing.abort_limit
        try:
            child.kill(signal.SIGABRT)
        except OSError as error:
            self._log.error(f"cannot signal the {child.name} pid {child.pid}: {error.strerror}")

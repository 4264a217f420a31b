"""The monitors of a service: the one that operators reach, and the one that a restart replaces it by.

Rules. The listening socket of the newest monitor is kept here for the next one, so that the control
socket is reachable whatever becomes of a monitor. A monitor is told of the certificates before it begins,
and again when they change.
"""

from __future__ import annotations

from typing import Any

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.linux import descriptors as fds
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.log import Log
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.timing import Timing


class Monitors:
    """Starts monitors, and replaces those that have ended.

    Attributes:
        restarts: Monitors started in place of one that had ended by itself.
    """

    def __init__(
        self,
        timing: Timing,
        log: Log,
        family: Family,
        forks: Forks,
        editions: Editions,
        sockets: Sockets,
        now: float,
    ) -> None:
        self._timing = timing
        self._log = log
        self._family = family
        self._forks = forks
        self._editions = editions
        self._sockets = sockets
        self._succession = Succession(timing, now)
        self.restarts = -1
        self._control: int | None = None
        """The listening socket of the newest monitor"""
        self._told: list[dict[str, Any]] | None = None
        """What the present monitor was told of the certificates"""
        self._tell_at = 0.0
        """Not before then: the system refused the last try"""

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        if self._owed() is None:
            return self._succession.start_at
        start_at = self._succession.start_at
        return self._tell_at if start_at is None else min(start_at, self._tell_at)

    def tick(self, now: float) -> None:
        """Start a monitor if it is time, and tell it what it does not know yet."""
        if self._succession.is_due(now):
            self._start(now)
        monitor = self._owed()
        if monitor is not None and self._tell_at <= now:
            self._tell(monitor, now)

    def _start(self, now: float) -> None:
        try:
            monitor = self._request()
        except OSError as error:
            self._succession.failed(now)
            text = f"the system refuses what a monitor needs: {describe_os_error(error)}"
            self._log.error(text)
            return
        self._family.add(monitor)
        self._succession.started(now)
        self.restarts += 1
        # It finds them when it begins.
        self._tell(monitor, now)
        self._forks.flush()

    def exists(self) -> bool:
        """Whether there is a monitor for a restart to replace."""
        return self._family.of(Role.MONITOR) is not None

    def take(self, monitor: Child, descriptors: list[int]) -> bool:
        """Take the listening socket of a monitor that serves; return whether it came."""
        if not descriptors:
            # Without its socket the next monitor could not take over.
            monitor.end("the supervisor had no descriptor left for its socket")
            return False
        monitor.ready = True
        self.close()
        self._control = descriptors[0]
        if monitor.role is Role.MONITOR:
            self._family.watch_anew()
        return True

    def ended(self, monitor: Child, how: str, now: float) -> None:
        """Its process is gone: start another one."""
        self._log.error(f"{monitor.name} pid {monitor.pid}: {how}; starting another")
        self._told = None
        self._succession.ended(now)

    def close(self) -> None:
        """Close the socket that is kept."""
        if self._control is not None:
            fds.close(self._control)
            self._control = None

    # The one that a restart starts

    def start_next(self, now: float) -> None:
        """Start a second monitor.

        Raises:
            OSError: The system refuses what it needs.
        """
        monitor = self._request()
        monitor.role = Role.NEXT_MONITOR
        self._family.add(monitor)
        self._tell(monitor, now)
        self._forks.flush()

    def dismiss_next(self) -> None:
        """End the second monitor, if there is one."""
        monitor = self._family.of(Role.NEXT_MONITOR)
        if monitor is not None:
            self._family.dismiss(monitor)

    def take_over(self, now: float) -> None:
        """Put the second monitor in the place of the first, which retires."""
        old, new = self._family.of(Role.MONITOR), self._family.of(Role.NEXT_MONITOR)
        assert new is not None
        new.role = Role.MONITOR
        if old is not None:
            old.role = Role.LEAVING
            old.send(messages.Retire())
        # The certificates may have changed since it was started.
        self._told = None
        self._succession.started(now)
        self._family.watch_anew()

    def _request(self) -> Child:
        return self._forks.request_monitor(self._sockets, self._control)

    def _owed(self) -> Child | None:
        """Return the monitor if it does not know the certificates in force."""
        monitor = self._family.of(Role.MONITOR)
        if monitor is None or not monitor.open or self._told == self._shown():
            return None
        return monitor

    def _shown(self) -> list[dict[str, Any]]:
        return self._editions.current.generation.shown

    def _tell(self, monitor: Child, now: float) -> None:
        """Tell a monitor of the certificates in force, if the system allows it now."""
        shown = self._shown()
        try:
            monitor.send(messages.Certificates(shown))
        except OSError as error:
            text = f"cannot tell {monitor.name} which certificates are in force"
            self._log.error(f"{text}: {describe_os_error(error)}")
            self._tell_at = now + self._timing.max_backoff
            return
        if monitor.role is Role.MONITOR:
            self._told = shown

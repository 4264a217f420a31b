"""The monitors of a service: the one that operators reach, and the one that a restart replaces it by.

Rules. The listening socket of the newest monitor is kept here for the next one, so that the control
socket is reachable whatever becomes of a monitor.
"""

from __future__ import annotations

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.linux import descriptors as fds
from mpchat.supervisor.child import Child, Role
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
        sockets: Sockets,
        now: float,
    ) -> None:
        self._log = log
        self._family = family
        self._forks = forks
        self._sockets = sockets
        self._succession = Succession(timing, now)
        self.restarts = -1
        self._control: int | None = None
        """The listening socket of the newest monitor"""

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        return self._succession.start_at

    def tick(self, now: float) -> None:
        """Start a monitor if it is time."""
        if not self._succession.is_due(now):
            return
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
        self._succession.ended(now)

    def close(self) -> None:
        """Close the socket that is kept."""
        if self._control is not None:
            fds.close(self._control)
            self._control = None

    # The one that a restart starts

    def start_next(self) -> None:
        """Start a second monitor.

        Raises:
            OSError: The system refuses what it needs.
        """
        monitor = self._request()
        monitor.role = Role.NEXT_MONITOR
        self._family.add(monitor)
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
        self._succession.started(now)
        self._family.watch_anew()

    def _request(self) -> Child:
        return self._forks.request_monitor(self._sockets, self._control)

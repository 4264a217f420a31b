"""What the world is told of the service: the ready line, READY=1, the status line, the watchdog."""

from __future__ import annotations

import os

from mpchat.linux import system
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.log import Log
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.systemd import ServiceManager


class Announcer:
    """Says once that the service is up, and how it is from then on.

    Attributes:
        done: Whether the service has been up.
    """

    def __init__(
        self, log: Log, manager: ServiceManager, scoreboard: Scoreboard, editions: Editions
    ) -> None:
        self.done = False
        self._log = log
        self._manager = manager
        self._scoreboard = scoreboard
        self._editions = editions
        self._failures: dict[str, str] = {}

    def up(self, address: str, version: str, pool: Pool, now: float) -> None:
        """Say that all is up."""
        self.done = True
        self._scoreboard.set_service("started", int(now * 1000))
        count = pool.policy.ready_count()
        workers = "1 worker" if count == 1 else f"{count} workers"
        text = f"{address}, {workers}"
        try:
            line = f"mpchat {version} pid {os.getpid()}: {text}\n"
            system.write(1, line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._log.warning(f"cannot print the ready line: {error}")
        self._log.info(f"ready: {text}")
        self._manager.ready(self._status(pool))

    def reloaded(self, pool: Pool, failure: str | None) -> None:
        """Say that a reload is over, and why if it failed."""
        self._note("reload", failure)
        self._manager.ready(self._status(pool))

    def restarted(self, failure: str) -> None:
        """Say with the next status why a restart failed, if it did."""
        self._note("restart", failure)

    def tick(self, pool: Pool | None, reload: Reloading, now: float, *, stopping: bool) -> None:
        """Feed the watchdog, and bring the status line up to date."""
        says_status = self.done and not stopping and not reload.is_under_way and pool is not None
        status = self._status(pool) if says_status and pool is not None else ""
        self._manager.tick(now, status, healthy=pool is None or pool.is_healthy())

    def _status(self, pool: Pool) -> str:
        clients = self._scoreboard.total("connections", len(pool.policy.pool))
        counts = f"{pool.policy.ready_count()} workers ready, {clients} connections"
        failures = "".join(
            f"; the last {what} failed: {why}" for what, why in self._failures.items()
        )
        return f"{counts}, dynamic config generation {self._editions.generation}{failures}"

    def _note(self, what: str, failure: str | None) -> None:
        self._failures.pop(what, None)
        if failure:
            self._failures[what] = failure.partition("\n")[0]

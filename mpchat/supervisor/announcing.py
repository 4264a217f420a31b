"""Announcements of the service: the ready line, READY=1, the status line, the watchdog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mpchat.ipc import messages
from mpchat.linux import system
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.log import Log
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.systemd import ServiceManager

_LONG = {"update": "update from the config service"}
"""What may fail, where its name alone is no help"""


@dataclass(frozen=True)
class Failure:
    """Why something failed, one reason per line, and when: seconds since 1970."""

    text: str
    at: float

    def first_line(self) -> str:
        """Return what fits into a status line."""
        return self.text.partition("\n")[0]


class Announcer:
    """Announces once that the service is up, and reports its status from then on.

    Attributes:
        done: Whether the service has been up.
        failures: Why the last reload, restart and update failed, if they did.
    """

    def __init__(
        self,
        log: Log,
        manager: ServiceManager,
        scoreboard: Scoreboard,
        editions: Editions,
        pool: Pool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.done = False
        self._log = log
        self._manager = manager
        self._scoreboard = scoreboard
        self._editions = editions
        self._pool = pool
        self._wall_clock = wall_clock
        self._stopping = False
        self.failures: dict[str, Failure] = {}

    def waiting(self, what: str) -> None:
        """Say what the start waits for, and ask the service manager for the time that it takes."""
        self._log.info(f"the workers wait for {what}")
        self._manager.waiting(f"waiting for {what}")

    def up(self, address: str, now: float) -> None:
        """Say that all is up."""
        self.done = True
        self._scoreboard.set_service("started", int(now * 1000))
        count = self._pool.policy.ready_count()
        workers = "1 worker" if count == 1 else f"{count} workers"
        text = f"{address}, {workers}"
        try:
            line = f"mpchat {self._editions.current.plan.version} pid {os.getpid()}: {text}\n"
            system.write(1, line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._log.warning(f"cannot print the ready line: {error}")
        self._log.info(f"ready: {text}")
        self._manager.ready(self._status())

    def in_force(self) -> messages.DynamicConfig:
        """Return what is known of the dynamic config, beside its values."""
        generation = self._editions.current.generation
        failures = {what: asdict(why) for what, why in self.failures.items()}
        return messages.DynamicConfig(
            generation.number, generation.since, failures, generation.shown
        )

    def reloading(self) -> None:
        """Say that a reload begins."""
        if self.done:
            self._manager.reloading()

    def parsed(self, *, has_mistakes: bool) -> None:
        """Show whether the dynamic config that was read last can be used."""
        self._scoreboard.set_service("parse_failed", has_mistakes)
        if has_mistakes:
            self._scoreboard.count_service("parse_errors")

    def reloaded(self, failure: str | None, *, confirmed: bool = True) -> None:
        """Say that a reload is over, why if it failed, or that some workers have not confirmed it."""
        if failure is not None:
            self._scoreboard.count_service("reloads_failed")
        else:
            name = "reloads_applied" if confirmed else "reloads_unconfirmed"
            self._scoreboard.count_service(name)
        self.show_generation()
        if not self._stopping:
            self._note("reload", failure)
            if self.done:
                self._manager.ready(self._status())

    def show_generation(self) -> None:
        """Show the number of the dynamic config in force.

        Now, not at the end of the turn: who is told of a generation may ask for the status at once.
        """
        self._scoreboard.set_service("generation", self._editions.generation)

    def updated(self, failure: str | None) -> None:
        """Say with the next status why the last update from the config service failed, if it did."""
        self._scoreboard.set_service("update_failed", failure is not None)
        self._note("update", failure)

    def restarted(self, failure: str) -> None:
        """Say with the next status why a restart failed, if it did."""
        self._scoreboard.count_service("restarts_failed" if failure else "restarts_done")
        self._note("restart", failure)

    def stopping(self, *, at_once: bool) -> None:
        """Say that the service has begun to stop."""
        self._stopping = True
        announce_stop(self._log, self._manager, at_once=at_once)

    def tick(self, now: float, *, is_reloading: bool) -> None:
        """Feed the watchdog, and bring the status line up to date."""
        says_status = self.done and not self._stopping and not is_reloading
        status = self._status() if says_status else ""
        self._manager.tick(now, status, healthy=self._pool.is_healthy())

    def _status(self) -> str:
        policy = self._pool.policy
        clients = self._scoreboard.total("connections", len(policy.pool))
        counts = f"{policy.ready_count()} workers ready, {clients} connections"
        failures = "".join(
            f"; the last {_LONG.get(what, what)} failed: {why.first_line()}"
            for what, why in self.failures.items()
        )
        return f"{counts}, dynamic config generation {self._editions.generation}{failures}"

    def _note(self, what: str, failure: str | None) -> None:
        self.failures.pop(what, None)
        if failure:
            self.failures[what] = Failure(failure, self._wall_clock())


def announce_stop(log: Log, manager: ServiceManager, *, at_once: bool) -> None:
    """Say that a service has begun to stop, whether or not it has ever been up."""
    if at_once:
        log.warning("stopping now: clients are not waited for")
    else:
        log.info("stopping: draining connections")
    manager.stopping()

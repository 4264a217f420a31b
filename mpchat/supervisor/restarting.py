"""Restarts carried out: the second template, the editions, and the second monitor.

Rules. ``restart`` decides. An action that the system refuses goes back to it as an event. A restart waits
for the end of a reload.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any

from mpchat.errors import StartError, describe_os_error
from mpchat.ipc import messages
from mpchat.linux import descriptors as fds
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.brokers import Brokers
from mpchat.supervisor.child import Child
from mpchat.supervisor.config_service import ConfigService
from mpchat.supervisor.consoles import Consoles
from mpchat.supervisor.editions import Editions, Loaded, refusal
from mpchat.supervisor.history import Histories
from mpchat.supervisor.log import Log
from mpchat.supervisor.memories import Memories
from mpchat.supervisor.monitors import Monitors
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reload import Asker
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.restart import (
    RENEWING,
    Action,
    DismissMonitor,
    DismissTemplate,
    End,
    Event,
    HoldReloads,
    Load,
    News,
    Phase,
    Promote,
    Refuse,
    ReleaseReloads,
    Renew,
    RenewAll,
    RenewBroker,
    Restart,
    Revert,
    Scale,
    Settle,
    StartMonitor,
    TakeOver,
)
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.templates import Templates
from mpchat.supervisor.timing import Timing

_ANSWER_DESCRIPTORS = 3
"""Of a Plan: the static config files, a generation, and its certificates"""


class Restarting:
    """Carries out what a restart's table decides."""

    def __init__(
        self,
        home: str,
        timing: Timing,
        log: Log,
        editions: Editions,
        templates: Templates,
        monitors: Monitors,
        brokers: Brokers,
        consoles: Consoles,
        histories: Histories,
        memories: Memories,
        reloading: Reloading,
        sockets: Sockets,
        pool: Pool,
        announcer: Announcer,
        config_service: ConfigService,
    ) -> None:
        self._restart = Restart(timing)
        self._home = home
        """The folder that was started in, by name: a restart loads what the name stands for by then"""
        self._log = log
        self._editions = editions
        self._templates = templates
        self._monitors = monitors
        self._brokers = brokers
        self._consoles = consoles
        self._histories = histories
        self._memories = memories
        self._reloading = reloading
        self._sockets = sockets
        self._pool = pool
        self._announcer = announcer
        self._config_service = config_service
        self._folder = ""
        """The folder that the second template loads"""
        self._loaded: Loaded | None = None
        """The second template's answer, until it is promoted"""

    @property
    def is_under_way(self) -> bool:
        """Whether a restart has begun and not ended."""
        return self._restart.phase is not Phase.IDLE

    @property
    def due(self) -> float | None:
        """When ``tick`` has something to do, if nothing happens before."""
        return self._restart.due

    def ask(self, slot: int | None, *askers: Asker) -> None:
        """Request a restart of all workers (None) or of one slot; a later ``tick`` begins it."""
        self._restart.ask(slot, askers)

    def tick(self, now: float) -> None:
        """Go on with the restart, or begin the next one."""
        for slot, reason in self._pool.take_failures().items():
            self._on(Event.NOT_RENEWED, now, reason, slot=slot)
        if self._restart.phase is Phase.BROKER and self._brokers.renewal is not None:
            failure = self._brokers.renewal
            self._on(Event.BROKER_FAILED if failure else Event.BROKER_READY, now, failure)
        if self._restart.phase in RENEWING:
            policy = self._pool.policy
            if not (self._restart.waits_for(policy.renewing()) or policy.is_leaving()):
                self._on(Event.SETTLED, now)
        if self._restart.due is not None and self._restart.due <= now:
            self._on(Event.OVERDUE, now)
        if self._restart.phase is Phase.IDLE and not self._reloading.is_under_way:
            self._on(Event.BEGIN, now)

    def stop(self, now: float) -> None:
        """Give up: the service is stopping."""
        self._on(Event.STOP, now, "the service is stopping")

    # What the second template and the second monitor do

    def loaded(
        self, template: Child, plan: messages.Plan, descriptors: list[int], now: float
    ) -> None:
        """The template has loaded; descriptors: its static config files and a generation."""
        old = self._editions.current.plan
        reason = refusal(old, plan)
        if len(descriptors) != _ANSWER_DESCRIPTORS:
            reason = "there is no descriptor left to take what the new template has loaded"
        if not reason:
            try:
                self._histories.prepare(plan.history)
                self._memories.make(
                    self._editions.next_edition, plan.metrics, self._editions.edition
                )
            except StartError as error:
                reason = str(error)
        if reason:
            self._histories.keep_only(old.history)
            fds.close_all(descriptors)
            self._on(Event.FAILED, now, reason)
            return
        template.ready = True
        static_config, memfd, certificates = descriptors
        self._loaded = Loaded(plan, static_config, memfd, certificates, self._folder)
        planned = plan.workers if plan.workers != old.workers else None
        self._on(Event.LOADED, now, planned=planned, has_rooms=plan.history is not None)

    def template_failed(self, reason: str, now: float) -> None:
        """The template cannot run the service."""
        self._on(Event.FAILED, now, reason)

    def template_ended(self, template: Child, how: str, now: float) -> None:
        """The template's process is gone."""
        words = template.last_words()
        self._on(Event.FAILED, now, f"the new template: {how}" + (f"\n{words}" if words else ""))

    def monitor_is_ready(self, now: float) -> None:
        """The second monitor serves the control socket."""
        self._on(Event.MONITOR_READY, now)

    def monitor_ended(self, how: str, now: float) -> None:
        """The monitor did not start."""
        self._on(Event.MONITOR_FAILED, now, how)

    # Actions

    def _on(self, event: Event, now: float, reason: str = "", **more: Any) -> None:
        waiting = deque(self._decide(event, now, reason, **more))
        while waiting:
            waiting.extendleft(reversed(self._do(waiting.popleft(), now)))

    def _decide(self, event: Event, now: float, reason: str = "", **more: Any) -> list[Action]:
        wanted = self._pool.policy.wanted()
        has_monitor = self._monitors.exists()
        return self._restart.on(event, News(now, wanted, has_monitor, reason, **more))

    def _do(self, action: Action, now: float) -> list[Action]:
        """Carry an action out; return what follows if the system refuses it."""
        match action:
            case HoldReloads():
                self._reloading.hold(now)
            case ReleaseReloads():
                self._reloading.release(now)
            case Load():
                return self._load(now)
            case DismissTemplate():
                self._templates.dismiss_next()
            case Promote():
                self._promote()
            case RenewBroker():
                self._brokers.renew(now)
            case Revert():
                self._log.error("the restart failed: slots that had moved go back to the old code")
                self._editions.revert()
                self._templates.dismiss_next()
                self._brokers.revert(now)
                self._consoles.follow_edition(now)
            case Settle():
                self._settle(now)
            case Scale():
                self._pool.scale(action.workers, now)
            case RenewAll():
                self._pool.renew_all(now)
            case Renew():
                self._log.info(f"replacing the worker of slot {action.slot}")
                self._pool.renew(action.slot, now)
            case StartMonitor():
                return self._start_monitor(now)
            case DismissMonitor():
                self._monitors.dismiss_next()
            case TakeOver():
                self._monitors.take_over(now)
            case End():
                self._end(action)
            case Refuse():
                _tell(action.askers, action.reason)
        return []

    def _load(self, now: float) -> list[Action]:
        self._log.info("restarting: a new template loads code and static config")
        try:
            self._folder = os.path.realpath(self._home)
            self._templates.start_next(self._folder, self._config_service.to_load())
        except OSError as error:
            reason = f"a new template cannot be started: {error.strerror}"
            return self._decide(Event.REFUSED, now, reason)
        return []

    def _promote(self) -> None:
        loaded = self._loaded
        assert loaded is not None
        self._editions.promote(loaded)
        self._loaded = None
        for warning in loaded.plan.warnings:
            self._log.warning(warning)
        self._log.info("the new code and static config are loaded: replacing workers slot by slot")

    def _settle(self, now: float) -> None:
        self._templates.settle(now)
        self._editions.settle()
        self._brokers.settle(now)
        self._consoles.follow_edition(now)
        plan = self._editions.current.plan
        try:
            self._sockets.listeners.set_backlog(plan.listener["backlog"])
        except StartError as error:
            self._log.error(f"the backlog stays as it was: {error}")
        try:
            self._log.follow(plan.log_path, plan.log_format, plan.log_level)
        except StartError as error:
            self._log.error(f"the supervisor's own log stays where it was: {error}")

    def _start_monitor(self, now: float) -> list[Action]:
        try:
            self._monitors.start_next(now)
        except OSError as error:
            return self._decide(Event.MONITOR_FAILED, now, describe_os_error(error))
        return []

    def _end(self, end: End) -> None:
        if end.reason:
            self._log.error(f"not restarted:\n{end.reason}")
        else:
            self._log.info("restarted")
        self._announcer.restarted(end.reason)
        _tell(end.askers, end.reason)


def _tell(askers: Iterable[Asker], reason: str) -> None:
    for asker in askers:
        asker(reason)

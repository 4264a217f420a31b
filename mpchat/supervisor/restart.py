"""One restart at a time: new code and static config for the whole service, or a new worker for one slot.

Rules. A table names what each (phase, step) pair means; one that cannot happen is not in it and raises.
Requests during a restart wait. What fails changes nothing in the end: slots that had moved move back. A
reload of the dynamic config waits for the end of a restart, and a restart for the end of a reload.

Theory of operation. LOADING: a second template loads what stands on the disk now. MOVING: workers are
forked from it, slot by slot (the policy renews them); the old template stays for the way back. REVERTING:
that way. MONITOR: all slots have moved, the new template is the only one, and a new monitor takes over
the control socket from the old one. SLOT: one worker is replaced, from the template that there is.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from mpchat.errors import StartError, describe_os_error
from mpchat.ipc import messages
from mpchat.ipc.layout import LAYOUT
from mpchat.linux import descriptors as fds
from mpchat.supervisor.children import Child, exec_template
from mpchat.supervisor.editions import Editions, Loaded, refusal
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.log import Log
from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reload import Asker
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.requests import Requests
from mpchat.supervisor.running import Running

_ANSWER_DESCRIPTORS = 2
"""Of a Plan: the static config files and a generation"""


class Phase(enum.Enum):
    """How far a restart is."""

    IDLE = "idle"
    LOADING = "loading"
    MOVING = "moving"
    REVERTING = "reverting"
    MONITOR = "monitor"
    SLOT = "slot"


class Step(enum.Enum):
    """What can happen to a restart."""

    LOADED = "loaded"
    """The new template has a plan that can be run"""
    FAILED = "failed"
    """The new template cannot run the service, or is gone"""
    OVERDUE = "overdue"
    NOT_RENEWED = "not renewed"
    """A new worker did not start"""
    SETTLED = "settled"
    """No slot waits for a new worker any more, and no old one takes clients"""
    MONITOR_READY = "monitor ready"
    MONITOR_FAILED = "monitor failed"
    STOP = "stop"
    """The service is stopping"""


@dataclass(frozen=True)
class _News:
    """What happened, to whom."""

    now: float
    reason: str = ""
    slot: int = -1


class Restart:
    """The restart that may be under way; ``over`` is told the reason if it failed, else nothing.

    Attributes:
        phase: How far it is.
        due: When the present phase has taken too long, None if it ends by itself.
    """

    def __init__(
        self,
        command: list[str],
        home: str,
        numbers: Numbers,
        log: Log,
        family: Family,
        forks: Forks,
        reload: Reloading,
        editions: Editions,
        running: Running,
        pool: Pool,
        over: Callable[[str], None],
    ) -> None:
        self.phase = Phase.IDLE
        self.due: float | None = None
        self._command = command
        self._home = home
        self._numbers = numbers
        self._log = log
        self._family = family
        self._forks = forks
        self._reload = reload
        self._editions = editions
        self._running = running
        self._pool = pool
        self._over = over
        self._slot = -1
        self._folder = ""
        """Where the new template loads from"""
        self._new: Loaded | None = None
        """What it has loaded, until that is the current edition"""
        self._workers_before = 0
        self._reason = ""
        self._holds_reload = False
        self._askers: list[Asker] = []
        self._requests = Requests()

    def ask(self, slot: int | None, *askers: Asker) -> None:
        """Have all workers replaced, or that of one slot, when ``tick`` finds time for it."""
        self._requests.add(slot, askers)

    def tick(self, now: float) -> None:
        """Go on with the restart, or begin the next one."""
        for slot, reason in self._pool.take_failures().items():
            self._step(Step.NOT_RENEWED, _News(now, reason, slot))
        if self.phase in {Phase.MOVING, Phase.REVERTING, Phase.SLOT}:
            policy = self._pool.policy
            renewing = policy.renewing()
            settled = not renewing or (self.phase is Phase.SLOT and self._slot not in renewing)
            if settled and not policy.is_leaving():
                self._step(Step.SETTLED, _News(now))
        if self.due is not None and self.due <= now:
            self._step(Step.OVERDUE, _News(now))
        if self.phase is Phase.IDLE and not self._reload.is_under_way:
            self._begin(now)

    # What the second template and the second monitor do

    def loaded(self, plan: messages.Plan, descriptors: list[int], now: float) -> None:
        """The new template has loaded; descriptors: its static config files and a generation."""
        if len(descriptors) != _ANSWER_DESCRIPTORS:
            fds.close_all(descriptors)
            reason = "there is no descriptor left to take what the new template has loaded"
            self._step(Step.FAILED, _News(now, reason))
            return
        static_config, memfd = descriptors
        self._new = Loaded(plan, static_config, memfd, self._folder)
        reason = refusal(self._editions.current.plan, plan)
        self._step(Step.FAILED if reason else Step.LOADED, _News(now, reason))

    def template_failed(self, reason: str, now: float) -> None:
        """The new template cannot run the service."""
        self._step(Step.FAILED, _News(now, reason))

    def template_ended(self, template: Child, how: str, now: float) -> None:
        """The new template's process is gone."""
        self._family.next_template = None
        words = template.last_words()
        reason = f"the new template: {how}" + (f"\n{words}" if words else "")
        self._step(Step.FAILED, _News(now, reason))

    def monitor_is_ready(self, now: float) -> None:
        """The new monitor serves the control socket, too."""
        self._step(Step.MONITOR_READY, _News(now))

    def monitor_ended(self, how: str, now: float) -> None:
        """The new monitor did not start."""
        self._family.next_monitor = None
        self._step(Step.MONITOR_FAILED, _News(now, how))

    def stop(self, now: float) -> None:
        """Give up: the service is stopping."""
        self._step(Step.STOP, _News(now, "the service is stopping"))
        self._requests.refuse("the service is stopping")

    # Cells of the table

    def _moves(self, news: _News) -> None:
        new, family, policy = self._new, self._family, self._pool.policy
        assert new is not None
        assert family.next_template is not None
        workers = self._editions.current.plan.workers
        self._workers_before = policy.wanted_count()
        self._editions.promote(new)
        self._new = None
        family.next_template.ready = True
        family.forks_from_next = True
        for warning in new.plan.warnings:
            self._log.warning(warning)
        self._log.info("the new code and static config are loaded: replacing workers slot by slot")
        self._enter(Phase.MOVING)
        if new.plan.workers != workers:
            self._pool.scale(new.plan.workers, news.now)
        self._pool.renew_all(news.now)

    def _fails_to_load(self, news: _News) -> None:
        self._dismiss_template()
        self._fail(news.reason, news.now)

    def _loads_too_long(self, news: _News) -> None:
        limit = self._numbers.template_limit
        reason = f"the new template did not load within {limit:g} s"
        self._fails_to_load(_News(news.now, reason))

    def _reverts(self, news: _News) -> None:
        workers = self._editions.current.plan.workers
        self._log.error("the restart failed: slots that had moved go back to the old code")
        self._reason = news.reason
        self._editions.revert()
        self._dismiss_template()
        self._enter(Phase.REVERTING)
        wanted = self._pool.policy.wanted_count()
        # Whoever has ordered another number meanwhile keeps it.
        if wanted == workers and wanted != self._workers_before:
            self._pool.scale(self._workers_before, news.now)
        self._pool.renew_all(news.now)

    def _has_reverted(self, news: _News) -> None:
        self._fail(self._reason, news.now)

    def _has_moved(self, news: _News) -> None:
        family = self._family
        assert family.next_template is not None
        old = family.template.child
        family.template.started(family.next_template, news.now)
        family.next_template, family.forks_from_next = None, False
        if old is not None:
            self._dismiss(old)
        self._editions.settle()
        plan = self._editions.current.plan
        try:
            self._running.listeners.set_backlog(plan.listener["backlog"])
        except StartError as error:
            self._log.error(f"the backlog stays as it was: {error}")
        try:
            self._log.follow(plan.log_path, plan.log_format, plan.log_level)
        except StartError as error:
            self._log.error(f"the supervisor's own log stays where it was: {error}")
        if family.monitor.child is None:
            # The next one is started from the new template anyway.
            self._finish("", news.now)
            return
        self._enter(Phase.MONITOR, news.now + self._numbers.start_limit)
        try:
            family.next_monitor = self._forks.request_monitor(self._running)
        except OSError as error:
            self._keeps_monitor(_News(news.now, describe_os_error(error)))
            return
        self._forks.flush()

    def _monitor_takes_over(self, news: _News) -> None:
        family = self._family
        assert family.next_monitor is not None
        old = family.monitor.child
        family.monitor.started(family.next_monitor, news.now)
        family.next_monitor = None
        family.watch_anew()
        # The old one passes the answer on to whoever asked it.
        self._finish("", news.now)
        if old is not None:
            old.send(messages.Retire())
            family.leaving.append(old)

    def _keeps_monitor(self, news: _News) -> None:
        reason = f"all workers were replaced, but not the monitor; the new one: {news.reason}"
        self._finish(reason, news.now)

    def _monitor_takes_too_long(self, news: _News) -> None:
        assert self._family.next_monitor is not None
        self._dismiss(self._family.next_monitor)
        self._family.next_monitor = None
        self._keeps_monitor(_News(news.now, "it was not ready in time"))

    def _slot_is_done(self, news: _News) -> None:
        self._finish("", news.now)

    def _slot_fails(self, news: _News) -> None:
        if news.slot == self._slot:
            self._finish(
                f"the new worker did not start, the old one stays\n{news.reason}", news.now
            )

    def _stops(self, news: _News) -> None:
        self._dismiss_template()
        if self._family.next_monitor is not None:
            self._dismiss(self._family.next_monitor)
            self._family.next_monitor = None
        self._answer(news.reason)
        self._enter(Phase.IDLE)

    def _nothing(self, news: _News) -> None:
        return

    # Shared steps

    def _step(self, step: Step, news: _News) -> None:
        TABLE[self.phase, step](self, news)

    def _enter(self, phase: Phase, due: float | None = None) -> None:
        self.phase, self.due = phase, due

    def _begin(self, now: float) -> None:
        request = self._requests.take()
        if request is None:
            return
        self._askers = request.askers
        if request.slot is None:
            self._load(now)
        else:
            self._begin_slot(request.slot, now)

    def _begin_slot(self, slot: int, now: float) -> None:
        pool = self._pool.policy.pool
        if not (0 <= slot < len(pool) and pool[slot].wanted):
            self._finish(f"there is no worker in slot {slot}", now)
            return
        self._slot = slot
        self._enter(Phase.SLOT)
        self._log.info(f"replacing the worker of slot {slot}")
        self._pool.renew(slot, now)

    def _load(self, now: float) -> None:
        self._log.info("restarting: a new template loads code and static config")
        self._new = None
        try:
            start = messages.Start(LAYOUT)
            self._folder = os.path.realpath(self._home)
            template = exec_template(
                self._command, os.environ, start, listens=True, folder=self._folder
            )
        except OSError as error:
            self._finish(f"a new template cannot be started: {error.strerror}", now)
            return
        self._reload.hold(now)
        self._holds_reload = True
        self._family.next_template = template
        self._enter(Phase.LOADING, now + self._numbers.template_limit)
        self._family.watch()

    def _dismiss_template(self) -> None:
        self._family.forks_from_next = False
        if self._family.next_template is not None:
            self._dismiss(self._family.next_template)
            self._family.next_template = None
        if self._new is not None:
            fds.close_all((self._new.static_config, self._new.memfd))
            self._new = None

    def _dismiss(self, child: Child) -> None:
        self._family.leaving.append(child)
        child.end("it is not needed any more")

    def _fail(self, reason: str, now: float) -> None:
        self._finish(f"{reason}\nnothing has changed: the old workers stay", now)

    def _finish(self, reason: str, now: float) -> None:
        for line in reason.splitlines():
            self._log.error(line)
        if not reason:
            self._log.info("restarted")
        self._enter(Phase.IDLE)
        self._over(reason)
        self._answer(reason)
        if self._holds_reload:
            self._holds_reload = False
            self._reload.release(now)

    def _answer(self, reason: str) -> None:
        askers, self._askers = self._askers, []
        for asker in askers:
            asker(reason)


_Cell: TypeAlias = Callable[[Restart, _News], None]

TABLE: dict[tuple[Phase, Step], _Cell] = {
    # A worker that is replaced for its age may fail to start at any time: that is not our concern.
    (Phase.IDLE, Step.NOT_RENEWED): Restart._nothing,
    (Phase.IDLE, Step.STOP): Restart._nothing,
    (Phase.LOADING, Step.LOADED): Restart._moves,
    (Phase.LOADING, Step.FAILED): Restart._fails_to_load,
    (Phase.LOADING, Step.OVERDUE): Restart._loads_too_long,
    (Phase.LOADING, Step.NOT_RENEWED): Restart._nothing,
    (Phase.LOADING, Step.STOP): Restart._stops,
    (Phase.MOVING, Step.FAILED): Restart._reverts,
    (Phase.MOVING, Step.NOT_RENEWED): Restart._reverts,
    (Phase.MOVING, Step.SETTLED): Restart._has_moved,
    (Phase.MOVING, Step.STOP): Restart._stops,
    # A slot that cannot even go back stays as it is; the log says why, and its successor is of old code.
    (Phase.REVERTING, Step.NOT_RENEWED): Restart._nothing,
    (Phase.REVERTING, Step.SETTLED): Restart._has_reverted,
    (Phase.REVERTING, Step.STOP): Restart._stops,
    (Phase.MONITOR, Step.MONITOR_READY): Restart._monitor_takes_over,
    (Phase.MONITOR, Step.MONITOR_FAILED): Restart._keeps_monitor,
    (Phase.MONITOR, Step.OVERDUE): Restart._monitor_takes_too_long,
    (Phase.MONITOR, Step.NOT_RENEWED): Restart._nothing,
    (Phase.MONITOR, Step.STOP): Restart._stops,
    (Phase.SLOT, Step.NOT_RENEWED): Restart._slot_fails,
    (Phase.SLOT, Step.SETTLED): Restart._slot_is_done,
    (Phase.SLOT, Step.STOP): Restart._stops,
}

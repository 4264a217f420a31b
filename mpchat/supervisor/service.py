"""The service from its first plan on: who deals with which signal, message and end, and in which order.

Rules. This file decides only the order of things. A step that fails leaves everything as it was, so that
it can be done again (see ``loop``).
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import assert_never

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.linux import descriptors as fds
from mpchat.linux.processes import has_terminal
from mpchat.linux.socket_file import remove_dead
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.service import ACTIVITIES
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.board import show_others
from mpchat.supervisor.brokers import Brokers
from mpchat.supervisor.child import Child, Role, describe_status
from mpchat.supervisor.config_service import ConfigService
from mpchat.supervisor.consoles import Consoles
from mpchat.supervisor.editions import Editions, Loaded
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import LOOK_SECONDS
from mpchat.supervisor.history import Histories
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.log_orders import LogOrders
from mpchat.supervisor.loop import Step
from mpchat.supervisor.memories import Memories
from mpchat.supervisor.monitors import Monitors
from mpchat.supervisor.orders import Orders
from mpchat.supervisor.orphans import Orphans
from mpchat.supervisor.pairs import Pairs
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.restarting import Restarting
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.systemd import ServiceManager
from mpchat.supervisor.templates import Templates
from mpchat.supervisor.timing import Timing

_FIRST_EDITION = 1
"""See Edition.number"""
_SNAPSHOT_DESCRIPTORS = 2
"""A generation and the certificates of its time"""


class Service:
    """A service whose config is valid and whose addresses are bound.

    Attributes:
        exit_code: The exit code, once all workers have ended; else None.

    Raises:
        StartError: An address cannot be listened on, or the log cannot be written.
    """

    def __init__(
        self,
        command: list[str],
        home: str,
        timing: Timing,
        log: Log,
        manager: ServiceManager,
        scoreboard: Scoreboard,
        family: Family,
        orphans: Orphans,
        succession: Succession,
        loaded: Loaded,
        now: float,
    ) -> None:
        plan = loaded.plan
        self.exit_code: int | None = None
        self._timing = timing
        self._log = log
        self._scoreboard = scoreboard
        self._family = family
        self._orphans = orphans
        self._next_look = 0.0
        self._stopping = self._stopping_now = False
        self._has_begun = False
        """Whether the first workers have been asked for"""
        self._histories = Histories()
        self._memories = Memories(log, scoreboard, family.workers)
        self._sockets = Sockets(plan)
        try:
            self._histories.prepare(plan.history)
            self._memories.make(_FIRST_EDITION, plan.metrics, _FIRST_EDITION)
            log.follow(plan.log_path, plan.log_format, plan.log_level)
        except StartError:
            self._sockets.close()
            raise
        self._editions = editions = Editions(timing.stop_grace, loaded)
        log.generation = lambda: editions.generation
        log_orders = LogOrders(log, family)
        self._forks = Forks(
            timing,
            log,
            scoreboard,
            family,
            editions,
            self._memories,
            log_orders,
            time.monotonic,
        )
        self._pool = Pool(
            editions, self._sockets, timing, log, scoreboard, family, self._forks, self._memories
        )
        self._announcer = Announcer(log, manager, scoreboard, editions, self._pool)
        self._templates = Templates(command, timing, log, family, editions, succession)
        self._monitors = Monitors(timing, log, family, self._forks, editions, self._sockets, now)
        self._brokers = Brokers(
            timing, log, scoreboard, family, self._forks, editions, self._histories, now
        )
        self._pairs = Pairs(timing, log, family)
        self._consoles = Consoles(
            timing,
            log,
            scoreboard,
            family,
            self._forks,
            editions,
            self._sockets,
            self._announcer,
            self._memories,
            now,
        )
        log.listener = self._consoles.note
        self._config_service = ConfigService(timing, log, editions, self._announcer)
        self._reloading = Reloading(
            timing,
            log,
            editions,
            family.workers,
            self._templates,
            self._announcer,
            self._config_service,
        )
        self._restarting = Restarting(
            home,
            timing,
            log,
            editions,
            self._templates,
            self._monitors,
            self._brokers,
            self._consoles,
            self._histories,
            self._memories,
            self._reloading,
            self._sockets,
            self._pool,
            self._announcer,
            self._config_service,
        )
        self._orders = Orders(
            log_orders,
            family,
            editions,
            self._announcer,
            self._pool,
            self._reloading,
            self._restarting,
            self._sockets,
            self._config_service,
        )
        self.steps = (
            Step("look after the template", self._templates.due, self._tick_template),
            Step("start the monitor", self._monitors.due, self._monitors.tick),
            Step("go on with the reload", self._reloading.next_due, self._reloading.tick),
            Step("await the config service", self._config_service.due, self._tick_config_service),
            Step("look after the workers", self._pool.next_due, self._tick_pool),
            Step("go on with the restart", lambda: self._restarting.due, self._tick_restart),
            Step("look after the broker", self._brokers.due, self._brokers.tick),
            Step("look after the console", self._consoles.due, self._consoles.tick),
            Step("connect workers and broker", lambda: self._pairs.due, self._pairs.tick),
            Step("ask for processes", lambda: self._forks.retry_at, self._tick_forks),
            Step("end orphans", lambda: orphans.due, orphans.look),
            Step("say how the service is", lambda: self._next_look, self._look),
        )

    def start(self, now: float) -> None:
        """Ask for the first workers, or await what the config service says for them."""
        for warning in self._editions.current.plan.warnings:
            self._log.warning(warning)
        if os.geteuid() == 0:
            self._log.warning(
                "the service runs as root: give it a user of its own (docs/systemd.md)"
            )
        self._config_service.begin(now)
        if self._config_service.awaited:
            self._announcer.waiting("the first answer of the config service")
        else:
            self._pool.start(now)
        self._has_begun = not self._config_service.awaited

    def close(self, faults: Faults) -> None:
        """Leave no socket and no socket file behind."""
        faults.attempt("close the listening sockets", self._sockets.stop_listening)
        faults.attempt("remove the listener's socket file", self._sockets.listeners.remove_file)
        faults.attempt("close the console's socket", self._sockets.close_console)
        self._monitors.close()
        self._histories.keep_only(None)
        self._memories.close()
        self._config_service.close()
        # The monitor has removed it, unless it had to be killed.
        control = self._sockets.control_socket(self._editions.current.plan)
        faults.attempt("remove the control socket's file", partial(remove_dead, control))

    # Steps of a turn

    def _tick_template(self, now: float) -> None:
        if lost := self._templates.tick(now):
            self._reloading.template_ended(lost, now)

    def _tick_config_service(self, now: float) -> None:
        self._config_service.tick(now)
        if self._config_service.exit_code is not None:
            self.exit_code = self._config_service.exit_code
        elif not (self._has_begun or self._config_service.awaited or self._stopping):
            self._has_begun = True
            self._pool.start(now)

    def _tick_pool(self, now: float) -> None:
        if self._pool.policy.ready_count() == 0:
            self._templates.hurry()
        self._pool.tick(now)
        if self._pool.exit_code is not None:
            self.exit_code = self._pool.exit_code

    def _tick_restart(self, now: float) -> None:
        if self._announcer.done and not self._stopping:
            self._restarting.tick(now)

    def _tick_forks(self, now: float) -> None:
        if self._forks.retry_at is not None and self._forks.retry_at <= now:
            self._forks.flush()

    def _look(self, now: float) -> None:
        board = self._scoreboard
        board.set_service("generation", self._editions.generation)
        board.set_service("activity", ACTIVITIES.index(self._activity()))
        board.set_service("template_restarts", self._templates.restarts)
        board.set_service("monitor_restarts", self._monitors.restarts)
        show_others(board, self._family)
        self._announce_once(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._announcer.tick(now, is_reloading=self._reloading.is_under_way)

    def _activity(self) -> str | None:
        if self._stopping:
            return "stop"
        if self._restarting.is_under_way:
            return "restart"
        return "reload" if self._reloading.is_under_way else None

    def _announce_once(self, now: float) -> None:
        """Say that all is up, monitor and broker included, unless these are in trouble of their own."""
        others = (self._family.of(Role.MONITOR), self._family.of(Role.BROKER))
        waits = any(other is not None and not other.ready for other in others)
        if self._pool.is_up and not (self._announcer.done or self._stopping or waits):
            self._announcer.up(self._sockets.address(self._editions.current.plan), now)

    # Signals

    def on_signal(self, number: signal.Signals, now: float) -> None:
        """Act on a signal; one that would change a service that is stopping does nothing."""
        match number:
            case signal.SIGCHLD:
                return
            case signal.SIGUSR1:
                self._family.reopen_logs()
            case signal.SIGTERM | signal.SIGINT:
                self._stop(now, at_once=self._stopping)
            case signal.SIGQUIT:
                self._stop(now, at_once=True)
            case signal.SIGUSR2:
                if not self._stopping:
                    self._restarting.ask(None)
            case signal.SIGHUP:
                if not self._stopping:
                    self._reloading.ask(now)
            case signal.SIGTTIN:
                self._on_scale(number, +1, now)
            case signal.SIGTTOU:
                self._on_scale(number, -1, now)
            case _:
                raise ValueError(f"nothing is to be done for {number.name}")

    def _on_scale(self, number: signal.Signals, more: int, now: float) -> None:
        if has_terminal():
            # A job in the background gets TTOU and TTIN from its terminal.
            text = "is ignored in a service that has a controlling terminal: use mpchat scale"
            self._log.warning(f"{number.name} {text}")
        elif not self._stopping:
            self._pool.scale(len(self._pool.policy.wanted()) + more, now)

    def _stop(self, now: float, *, at_once: bool) -> None:
        if self._stopping_now:
            return
        self._announcer.stopping(at_once=at_once)
        self._restarting.stop(now)
        self._sockets.stop_listening()
        self._pool.stop(now, at_once=at_once)
        # Last: a stop that fails on its way and is tried again must not become one in a hurry.
        self._stopping, self._stopping_now = True, at_once

    # Messages

    def on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        """Handle a message of a child.

        Raises:
            MalformedMessage: The child may not say that, or not now.
        """
        match message:
            case messages.Hello():
                child.identify(message.pid)
                self._family.watch()
            case messages.Ready():
                self._on_ready(child, descriptors, now)
            case messages.Applied():
                if message.number > child.sent_generation:
                    raise MalformedMessage(f"it was not given generation {message.number}")
                self._reloading.applied(child, message.number, now)
            case messages.Retiring():
                self._pool.retires(child, now)
            case messages.NotAdopted():
                self._pool.adoption_failed(child, message.slot)
            case messages.PairLost():
                self._pairs.lost(child, message.pair, now)
            case messages.Order():
                self._orders.take(child, message, descriptors, now)
            case messages.Plan():
                self._on_plan(child, message, descriptors, now)
            case messages.Failure():
                self._on_failure(child, message, now)
            case messages.Forked():
                seconds = max(0.0, now - child.answers.idle_since())
                self._scoreboard.set_service("fork_us", int(seconds * 1_000_000))
                child.answers.answered(now)
            case messages.Pong():
                child.answers.answered(now)
            case messages.ForkFailed():
                child.answers.answered(now)
                self._log.error(f"the system refused a process: {message.text}")
            case messages.Snapshot():
                child.answers.answered(now)
                self._on_snapshot(message, descriptors, now)
            case messages.ReloadFailed():
                child.answers.answered(now)
                self._reloading.failed(message.text, now)

    def _on_ready(self, child: Child, descriptors: list[int], now: float) -> None:
        if child.ready or not child.pid:
            raise MalformedMessage("Ready is said once, after Hello")
        match child.role:
            case Role.WORKER | Role.BROKER | Role.CONSOLE if descriptors:
                raise MalformedMessage("Ready came with a descriptor")
            case Role.WORKER:
                child.ready = True
                self._pool.became_ready(child, now)
                self._reloading.offer(child, now)
            case Role.BROKER:
                child.ready = True
                self._brokers.became_ready(child)
            case Role.CONSOLE:
                self._consoles.became_ready(child)
            case Role.MONITOR:
                self._monitors.take(child, descriptors)
            case Role.NEXT_MONITOR:
                if self._monitors.take(child, descriptors):
                    self._restarting.monitor_is_ready(now)
            case _:
                # A monitor that was replaced before it was ready.
                fds.close_all(descriptors)

    def _on_plan(
        self, template: Child, plan: messages.Plan, descriptors: list[int], now: float
    ) -> None:
        if template.ready:
            raise MalformedMessage("Plan is said once")
        if template.role is Role.NEXT_TEMPLATE:
            self._restarting.loaded(template, plan, descriptors, now)
            return
        template.ready = True
        fds.close_all(descriptors)
        if template.role is Role.TEMPLATE:
            self._log.info(f"template pid {template.pid} is ready in place of the one that ended")
            self._forks.flush()
            self._reloading.template_is_ready(now)

    def _on_failure(self, child: Child, failure: messages.Failure, now: float) -> None:
        if child.role is Role.NEXT_TEMPLATE:
            self._restarting.template_failed(failure.text, now)
        elif not self._announcer.done and _ends_a_start(child.role, failure):
            say(failure.text)
            self.exit_code = failure.exit_code
        else:
            self._log.error(f"the new {child.name} failed: {failure.text}")
            child.kill_reason = failure.text

    def _on_snapshot(self, snapshot: messages.Snapshot, descriptors: list[int], now: float) -> None:
        if len(descriptors) != _SNAPSHOT_DESCRIPTORS:
            fds.close_all(descriptors)
            self._reloading.failed("the supervisor has no descriptor left for it", now)
            return
        for warning in snapshot.warnings:
            self._log.warning(warning)
        memfd, certificates = descriptors
        self._reloading.loaded(snapshot, memfd, certificates, now)

    # Ends of children

    def on_gone(self, child: Child, now: float) -> None:
        """Handle the end of a child."""
        how = describe_status(child.status)
        self._forks.forget(child)
        self._family.unwatch(child)
        if child.role is not Role.WORKER:
            self._family.forget(child)
        match child.role:
            case Role.TEMPLATE:
                if not self._stopping:
                    self._templates.ended(child, how, now)
                    self._reloading.template_ended(how, now)
            case Role.NEXT_TEMPLATE:
                self._restarting.template_ended(child, how, now)
            case Role.MONITOR:
                if not self._stopping:
                    self._monitors.ended(child, how, now)
            case Role.NEXT_MONITOR:
                self._restarting.monitor_ended(child.kill_reason or how, now)
            case Role.BROKER:
                self._brokers.ended(child, how, now)
            case Role.CONSOLE:
                if not self._stopping:
                    self._consoles.ended(child, how, now)
                    self._config_service.console_ended(how)
            case Role.WORKER:
                self._orphans.due = now
                self._pairs.ended(child)
                self._pool.ended(child, how, now)
                self._reloading.settle(now)
            case Role.LEAVING:
                pass
            case _:
                assert_never(child.role)


def _ends_a_start(role: Role, failure: messages.Failure) -> bool:
    """Return whether a service that is not up yet ends with this failure of a child.

    A broker that cannot have its stream as the config wants it will not have it by another try.
    """
    if role is Role.BROKER:
        return failure.exit_code in {ExitCode.CONFIG, ExitCode.UNAVAILABLE}
    return role is Role.MONITOR

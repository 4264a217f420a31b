"""The service around the policy: what it does with events, and the order in which it does things.

Rules. The policy decides about workers; this file decides nothing but the order of things. What may fail
leaves everything as it was, so that it can be done again (see ``loop``).
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.linux import descriptors as fds
from mpchat.linux.processes import become_subreaper, has_terminal
from mpchat.linux.socket_file import remove_dead
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.children import Child, describe_status
from mpchat.supervisor.editions import Editions, Loaded
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.folder import started_in
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import LOOK_SECONDS
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.loop import Loop, Step
from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.orders import Orders
from mpchat.supervisor.orphans import Orphans
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.restarting import Restarting
from mpchat.supervisor.running import Running
from mpchat.supervisor.signals import Signals
from mpchat.supervisor.single import Single
from mpchat.supervisor.systemd import ServiceManager
from mpchat.supervisor.templates import Templates

_SCALING = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}
_NEEDS_A_PLAN = {signal.SIGHUP, signal.SIGUSR2, *_SCALING}
_PLAN_DESCRIPTORS = 2
"""Of the first one: the static config files and a generation"""


class Supervisor:
    """One service: its sockets, its scoreboard, its processes.

    Raises:
        OSError: The system refuses what any service needs.
    """

    def __init__(self, command: list[str], numbers: Numbers | None = None) -> None:
        self._command = command
        self._home = started_in(os.environ)
        self._numbers = numbers or Numbers()
        self._editions = Editions(self._numbers.stop_grace)
        self._log = Log(lambda: self._editions.generation)
        self._faults = Faults(self._log)
        self._manager = ServiceManager(os.environ)
        self._signals = Signals()
        self._scoreboard = Scoreboard.create()
        self._family = Family(self._numbers, self._log, self._faults, self._on_message)
        self._templates = Templates(command, self._numbers, self._log, self._family, self._editions)
        self._reload = Reloading(
            self._numbers,
            self._log,
            self._editions,
            self._family.workers,
            self._templates,
            self._manager.reloading,
            self._on_reload_over,
        )
        self._orphans = Orphans(self._family, self._log)
        self._orders = Orders(self._reload, self._log, self._family, self._editions)
        self._forks = Forks(
            self._numbers,
            self._log,
            self._scoreboard,
            self._family,
            self._editions,
            self._orders.levels,
            time.monotonic,
        )
        self._announcer = Announcer(self._log, self._manager, self._scoreboard, self._editions)
        self._running: Running | None = None
        self._pool: Pool | None = None
        self._restarting: Restarting | None = None
        self._next_look = 0.0
        self._stopping = self._stopping_now = False
        self._early: list[signal.Signals] = []
        """Signals that came while the service was being loaded"""
        self._exit_code: int | None = None
        steps = (
            Step("look after the template", self._templates.due, self._tick_template),
            Step("start the monitor", self._monitor_due, self._tick_monitor),
            Step("go on with the reload", self._reload.next_due, self._tick_reload),
            Step("look after the workers", self._pool_due, self._tick_pool),
            Step("go on with the restart", self._restart_due, self._tick_restart),
            Step("ask for processes", lambda: self._forks.retry_at, self._tick_forks),
            Step("end orphans", lambda: self._orphans.due, self._orphans.look),
            Step("look around", lambda: self._next_look, self._look),
        )
        self._loop = Loop(
            self._signals, self._family, self._faults, steps, self._on_signal, self._on_gone
        )

    def run(self) -> int:
        """Serve until asked to stop; return the exit code."""
        if not self._faults.attempt("adopt orphans", become_subreaper):
            # Without that no exit status of a worker would ever come.
            self._exit_code = ExitCode.OS
        self._family.template.start_at = time.monotonic()
        while self._exit_code is None:
            self._faults.attempt("go through a turn of the loop", self._loop.turn)
            self._scoreboard.set_service("faults", self._faults.count)
            if self._faults.end_turn(time.monotonic()):
                self._log.error("the supervisor cannot go on: the service ends")
                self._family.say_goodbye(self._numbers.now_limit)
                self._exit_code = ExitCode.SOFTWARE
        self._end()
        return self._exit_code

    # What is looked after in every turn

    def _tick_template(self, now: float) -> None:
        try:
            if lost := self._templates.tick(now):
                self._reload.template_ended(lost, now)
        except StartError as error:
            self._cannot_start(error)

    def _monitor_due(self) -> float | None:
        return self._family.monitor.start_at

    def _tick_monitor(self, now: float) -> None:
        single = self._family.monitor
        if self._running is None or not single.is_due(now):
            return
        try:
            monitor = self._forks.request_monitor(self._running)
        except OSError as error:
            single.failed(now)
            self._log.error(f"the system refuses what a monitor needs: {describe_os_error(error)}")
            return
        single.started(monitor, now)
        self._forks.flush()

    def _tick_reload(self, now: float) -> None:
        self._reload.tick(now)

    def _pool_due(self) -> float | None:
        return self._pool.next_due() if self._pool is not None else None

    def _tick_pool(self, now: float) -> None:
        if self._pool is None:
            return
        if self._pool.policy.ready_count() == 0:
            # Without a template there will be no worker, and without a worker no service.
            template = self._family.template
            template.hurry(template.since + self._numbers.rescue_interval)
        self._pool.tick(now)
        if self._pool.exit_code is not None:
            self._exit_code = self._pool.exit_code

    def _restart_due(self) -> float | None:
        return self._restarting.due if self._restarting is not None else None

    def _tick_restart(self, now: float) -> None:
        if self._restarting is not None and self._announcer.done and not self._stopping:
            self._restarting.tick(now)

    def _tick_forks(self, now: float) -> None:
        if self._forks.retry_at is not None and self._forks.retry_at <= now:
            self._forks.flush()

    def _look(self, now: float) -> None:
        self._scoreboard.set_service("generation", self._editions.generation)
        self._announce_once(now)
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        self._scoreboard.set_service("beat_at", int(now * 1000))
        self._announcer.tick(self._pool, self._reload, now, stopping=self._stopping)
        self._family.watch()
        self._family.kill_unreachable(now - self._numbers.unreachable_limit)

    def _announce_once(self, now: float) -> None:
        """Say that all is up, the monitor included, unless that one is in trouble of its own."""
        monitor = self._family.monitor.child
        waits = monitor is not None and not monitor.ready
        if self._announcer.done or self._stopping or waits:
            return
        if self._running is not None and self._pool is not None and self._pool.is_up:
            plan = self._editions.current.plan
            self._announcer.up(self._running.address(plan), plan.version, self._pool, now)

    # Signals

    def _on_signal(self, number: signal.Signals, now: float) -> None:
        if self._running is None and number in _NEEDS_A_PLAN and not self._stopping:
            # The first template may have read what the operator has changed since.
            self._early.append(number)
        elif number is signal.SIGUSR2:
            if self._restarting is not None and not self._stopping:
                self._restarting.ask(None)
        elif number is signal.SIGHUP:
            if self._running is not None and not self._stopping:
                self._reload.ask(now)
        elif number in _SCALING:
            self._scale(number, now)
        elif number is signal.SIGUSR1:
            self._reopen_logs()
        elif number is not signal.SIGCHLD:
            self._stop(now, at_once=self._stopping or number is signal.SIGQUIT)

    def _scale(self, number: signal.Signals, now: float) -> None:
        if has_terminal():
            # A job in the background gets TTOU and TTIN from its terminal.
            text = "is ignored in a service that has a controlling terminal: use mpchat scale"
            self._log.warning(f"{number.name} {text}")
        elif self._pool is not None and not self._stopping:
            self._pool.scale(len(self._pool.policy.wanted()) + _SCALING[number], now)

    def _reopen_logs(self) -> None:
        self._log.reopen()
        # To those that are still starting, too: they may have opened the old files already.
        for child in self._family:
            child.send(messages.ReopenLogs())
        self._log.info("every process opens its log files again")

    def _stop(self, now: float, *, at_once: bool) -> None:
        if self._stopping_now:
            return
        if at_once:
            self._log.warning("stopping now: clients are not waited for")
        else:
            self._log.info("stopping: draining connections")
        self._manager.stopping()
        if self._running is None or self._pool is None:
            self._exit_code = ExitCode.OK
            return
        if self._restarting is not None:
            self._restarting.stop(now)
        self._running.listeners.close()
        self._running.inboxes.close()
        self._pool.stop(now, at_once=at_once)
        # Last: a stop that fails on its way and is tried again must not become one in a hurry.
        self._stopping, self._stopping_now = True, at_once

    # Messages

    def _on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        match message:
            case messages.Hello():
                child.identify(message.pid)
                self._family.watch()
            case messages.Ready() if child.ready or not child.pid:
                raise MalformedMessage("Ready is said once, after Hello")
            case messages.Ready() if child.number and not descriptors:
                child.ready = True
                self._on_worker_ready(child, now)
            case messages.Ready():
                self._on_monitor_ready(child, descriptors, now)
            case messages.Applied() if message.number > child.sent_generation:
                raise MalformedMessage(f"it was not given generation {message.number}")
            case messages.Applied():
                self._reload.applied(child, message.number, now)
            case messages.Retiring():
                if self._pool is not None:
                    self._pool.retires(child, now)
            case messages.NotAdopted():
                if self._pool is not None:
                    self._pool.did_not_adopt(child, message.slot)
            case messages.Order():
                self._orders.take(child, message, descriptors, self._pool, now)
            case messages.Plan() if child.ready:
                raise MalformedMessage("Plan is said once")
            case messages.Plan():
                self._on_plan(child, message, descriptors, now)
            case messages.Failure():
                self._on_failure(child, message, now)
            case messages.Forked() | messages.Pong():
                child.answers.answered(now)
            case messages.ForkFailed():
                child.answers.answered(now)
                self._log.error(f"the system refused a process: {message.text}")
            case messages.Snapshot():
                child.answers.answered(now)
                self._on_snapshot(message, descriptors, now)
            case messages.ReloadFailed():
                child.answers.answered(now)
                self._reload.failed(message.text, now)

    def _on_plan(
        self, template: Child, plan: messages.Plan, descriptors: list[int], now: float
    ) -> None:
        if template is self._family.next_template and self._restarting is not None:
            self._restarting.loaded(plan, descriptors, now)
            return
        if self._running is None:
            try:
                self._on_first_plan(plan, descriptors, now)
            except StartError as error:
                self._cannot_start(error)
            template.ready = True
            while self._early:
                self._signals.put_back(self._early.pop())
            return
        template.ready = True
        fds.close_all(descriptors)
        if template is not self._family.template.child:
            return
        self._log.info(f"template pid {template.pid} is ready in place of the one that ended")
        self._forks.flush()
        self._reload.template_is_ready(now)

    def _on_first_plan(self, plan: messages.Plan, descriptors: list[int], now: float) -> None:
        if len(descriptors) != _PLAN_DESCRIPTORS:
            text = "there is no descriptor left to take what the template has loaded"
            raise StartError(text, ExitCode.OS)
        static_config, memfd = descriptors
        self._running = running = Running(plan)
        self._editions.promote(Loaded(plan, static_config, memfd, os.path.realpath(self._home)))
        self._pool = pool = Pool(
            self._editions,
            running,
            self._numbers,
            self._log,
            self._scoreboard,
            self._family,
            self._forks,
        )
        self._restarting = self._orders.restarting = Restarting(
            self._command,
            self._home,
            self._numbers,
            self._log,
            self._family,
            self._forks,
            self._reload,
            self._editions,
            running,
            pool,
            self._announcer,
        )
        self._log.follow(plan.log_path, plan.log_format, plan.log_level)
        for warning in plan.warnings:
            self._log.warning(warning)
        if os.geteuid() == 0:
            self._log.warning(
                "the service runs as root: give it a user of its own (docs/deploy.md)"
            )
        self._family.monitor.start_at = now
        pool.start(now)

    def _cannot_start(self, error: StartError) -> None:
        say(f"mpchat: {error}")
        self._exit_code = error.exit_code

    def _on_failure(self, child: Child, failure: messages.Failure, now: float) -> None:
        if child is self._family.next_template and self._restarting is not None:
            self._restarting.template_failed(failure.text, now)
        elif not self._announcer.done and (
            self._running is None or child is self._family.monitor.child
        ):
            say(failure.text)
            self._exit_code = failure.exit_code
        else:
            self._log.error(f"the new {child.name} failed: {failure.text}")
            child.kill_reason = failure.text

    def _on_monitor_ready(self, monitor: Child, descriptors: list[int], now: float) -> None:
        if self._running is None or monitor.number:
            raise MalformedMessage("Ready came with a descriptor")
        if not descriptors:
            # Without its socket the next monitor could not take over.
            monitor.end("the supervisor had no descriptor left for its socket")
            return
        monitor.ready = True
        if self._running.control >= 0:
            fds.close(self._running.control)
        self._running.control = descriptors[0]
        if monitor is self._family.monitor.child:
            self._family.watch_anew()
        if monitor is self._family.next_monitor and self._restarting is not None:
            self._restarting.monitor_is_ready(now)

    def _on_worker_ready(self, worker: Child, now: float) -> None:
        if self._pool is not None:
            self._pool.became_ready(worker, now)
        self._reload.offer(worker, now)

    def _on_snapshot(self, snapshot: messages.Snapshot, descriptors: list[int], now: float) -> None:
        if not descriptors:
            self._reload.failed("the supervisor has no descriptor left for it", now)
            return
        for warning in snapshot.warnings:
            self._log.warning(warning)
        self._reload.loaded(descriptors[0], snapshot.stop_limit, now)

    def _on_reload_over(self, failure: str | None) -> None:
        if not self._stopping and self._pool is not None:
            self._announcer.reloaded(self._pool, failure)

    # Ends of children

    def _on_gone(self, child: Child, now: float) -> None:
        how = describe_status(child.status)
        self._forks.forget(child)
        self._family.unwatch(child)
        if child is self._family.template.child:
            self._on_single_gone(self._family.template, how, now)
        elif child is self._family.monitor.child:
            self._on_single_gone(self._family.monitor, how, now)
        elif child in self._family.leaving:
            self._family.leaving.remove(child)
        elif child is self._family.next_template and self._restarting is not None:
            self._restarting.template_ended(child, how, now)
        elif child is self._family.next_monitor and self._restarting is not None:
            self._restarting.monitor_ended(child.kill_reason or how, now)
        else:
            self._on_worker_gone(child, how, now)

    def _on_single_gone(self, single: Single, how: str, now: float) -> None:
        child = single.child
        assert child is not None
        single.ended(now)
        if self._stopping or self._exit_code is not None:
            single.start_at = None
        elif self._running is None:
            reason = f" ({child.kill_reason})" if child.kill_reason else ""
            say(f"mpchat: the service could not be loaded: {how}{reason}")
            self._exit_code = ExitCode.SOFTWARE
        else:
            self._log.error(f"{child.name} pid {child.pid}: {how}; starting another")
            if single is self._family.template:
                self._reload.template_ended(how, now)

    def _on_worker_gone(self, worker: Child, how: str, now: float) -> None:
        self._orphans.due = now
        if self._pool is not None:
            self._pool.ended(worker, how, now)
        self._reload.settle(now)

    # The end

    def _end(self) -> None:
        """Let nothing outlive us: no process, no zombie, no socket file."""
        attempt = self._faults.attempt
        attempt("hold back signals", self._signals.close)
        limit = self._numbers.now_limit
        attempt("end all processes", partial(self._family.end, limit))
        attempt("end orphans", partial(self._orphans.end, limit, self._family.reap))
        if self._running is not None:
            attempt("close the listening sockets", self._running.listeners.close)
            attempt("close the inboxes", self._running.inboxes.close)
            attempt("remove the listener's socket file", self._running.listeners.remove_file)
            if self._running.control >= 0:
                fds.close(self._running.control)
            # The monitor has removed it, unless it had to be killed.
            control = self._running.control_socket(self._editions.current.plan)
            attempt("remove the control socket's file", partial(remove_dead, control))

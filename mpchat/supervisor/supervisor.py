"""The loop around the policy: waits, gathers events, carries out actions.

Rules. One thread, never blocks but in the one ``poll``. The policy decides about workers; this file
decides nothing but the order of things.
"""

from __future__ import annotations

import os
import select
import signal
import time

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.layout import LAYOUT
from mpchat.ipc.process import become_subreaper, has_terminal
from mpchat.ipc.scoreboard import Scoreboard
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.children import Child, describe_status, exec_template
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import LOOK_SECONDS
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.orders import Orders
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reload import Reload
from mpchat.supervisor.restart import Restart
from mpchat.supervisor.running import Running
from mpchat.supervisor.signals import Signals
from mpchat.supervisor.single import Single
from mpchat.supervisor.sockets import remove_stale
from mpchat.supervisor.systemd import ServiceManager

_SCALING = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}


class Supervisor:
    """One service: its sockets, its scoreboard, its processes."""

    def __init__(self, command: list[str], numbers: Numbers | None = None) -> None:
        self._command = command
        self._numbers = numbers or Numbers()
        self._log = Log(lambda: self._reload.generation.number)
        self._manager = ServiceManager(os.environ)
        self._signals = Signals()
        self._scoreboard = Scoreboard.create()
        self._family = Family(self._numbers, self._on_message)
        self._reload = Reload(
            self._numbers,
            self._log,
            self._family.workers,
            self._ask_template,
            self._manager.reloading,
            self._on_reload_over,
        )
        self._orders = Orders(self._reload, self._log, self._family)
        self._forks = Forks(self._scoreboard, self._family, self._reload, self._orders.levels)
        self._announcer = Announcer(self._log, self._manager, self._scoreboard)
        self._running: Running | None = None
        self._pool: Pool | None = None
        self._restart: Restart | None = None
        self._next_look = 0.0
        self._stopping = False
        self._exit_code: int | None = None

    # The loop

    def run(self) -> int:
        """Serve until asked to stop; return the exit code."""
        become_subreaper()
        self._start_template(time.monotonic())
        # Any other exception is a bug: the process ends with its traceback, and its children see that
        # their channels have ended and say goodbye to their clients.
        try:
            while self._exit_code is None:
                self._turn()
        except StartError as error:
            say(f"mpchat: {error}")
            self._exit_code = error.exit_code
        self._end()
        return self._exit_code

    def _turn(self) -> None:
        self._wait()
        now = time.monotonic()
        for number in self._signals.take():
            self._on_signal(number, now)
        for child in self._family:
            self._family.read(child, now)
        self._family.reap(now)
        for child in self._family.gone():
            self._on_gone(child, now)
        self._tick(now)

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._signals.fileno(), select.POLLIN)
        self._family.register(poller)
        times = [
            self._family.template.start_at,
            self._family.monitor.start_at,
            self._next_look,
            self._template_due(),
            self._reload.due,
            self._restart.due if self._restart is not None else None,
        ]
        if self._pool is not None:
            times.append(self._pool.next_due())
        due = min((at for at in times if at is not None), default=None)
        # Rounded up: a wait that ends a moment early would turn in circles until the time has come.
        timeout = None if due is None else max(0.0, due - time.monotonic()) * 1000 + 1
        poller.poll(timeout)

    def _tick(self, now: float) -> None:
        self._family.kill_unreachable(now - self._numbers.unreachable_limit)
        template = self._family.template.child
        due = self._template_due()
        if template is not None and due is not None and due <= now:
            self._log.error("the template did not load in time: killed")
            template.kill()
        if self._reload.is_overdue(now):
            if template is not None:
                template.kill()
            limit = self._numbers.reload_limit
            self._reload.failed(f"the template did not answer within {limit:g} s", now)
        self._reload.tick(now)
        if self._pool is not None and self._pool.policy.ready_count() == 0:
            # Without a template there will be no worker, and without a worker no service.
            self._family.template.hurry(self._family.template.since + self._numbers.rescue_interval)
        if self._family.template.is_due(now):
            self._start_template(now)
        if self._family.monitor.is_due(now):
            self._start_monitor(now)
        if self._pool is not None:
            self._pool.tick(now)
            if self._pool.exit_code is not None:
                self._exit_code = self._pool.exit_code
        if self._restart is not None and self._announcer.done and not self._stopping:
            self._restart.tick(now)
        self._scoreboard.set_service("generation", self._reload.generation.number)
        self._announce_once(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._scoreboard.set_service("beat_at", int(now * 1000))
            self._announcer.tick(self._pool, self._reload, now, stopping=self._stopping)

    # Signals

    def _on_signal(self, number: signal.Signals, now: float) -> None:
        if number is signal.SIGUSR2:
            if self._restart is not None and not self._stopping:
                self._restart.ask(None)
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
            self._pool.scale(self._pool.policy.wanted_count() + _SCALING[number], now)

    def _reopen_logs(self) -> None:
        self._log.reopen()
        # To those that are still starting, too: they may have opened the old files already.
        for child in self._family:
            child.send(messages.ReopenLogs())
        self._log.info("every process opens its log files again")

    def _stop(self, now: float, *, at_once: bool) -> None:
        if at_once:
            self._log.warning("stopping now: clients are not waited for")
        else:
            self._log.info("stopping: draining connections")
        self._stopping = True
        self._manager.stopping()
        if self._running is None or self._pool is None:
            self._exit_code = ExitCode.OK
            return
        if self._restart is not None:
            self._restart.stop(now)
        self._running.listeners.close()
        self._running.inboxes.close()
        self._pool.stop(now, at_once=at_once)

    # Messages

    def _on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        match message:
            case messages.Hello():
                child.identify(message.pid)
                self._family.watch(child)
            case messages.Ready():
                child.ready = True
                if child.number:
                    self._on_worker_ready(child, now)
                else:
                    self._on_monitor_ready(child, descriptors[0], now)
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
            case messages.Plan():
                self._on_plan(child, message, descriptors, now)
            case messages.Failure():
                self._on_failure(child, message, now)
            case messages.ForkFailed():
                self._log.error(f"the system refused a process: {message.text}")
            case messages.Snapshot():
                self._on_snapshot(message, descriptors[0], now)
            case messages.ReloadFailed():
                self._reload.failed(message.text, now)
            case _:
                self._log.error(f"{child.name} sent an unexpected {type(message).__name__}")

    def _on_plan(
        self, template: Child, plan: messages.Plan, descriptors: list[int], now: float
    ) -> None:
        if template is self._family.next_template and self._restart is not None:
            self._restart.loaded(plan, descriptors, now)
            return
        template.ready = True
        if self._running is None:
            static_config, memfd = descriptors
            self._on_first_plan(plan, static_config, memfd, now)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if template is not self._family.template.child:
            return
        self._log.info(f"template pid {template.pid} is ready in place of the one that ended")
        self._forks.flush()
        self._reload.template_is_ready()

    def _on_first_plan(
        self, plan: messages.Plan, static_config: int, memfd: int, now: float
    ) -> None:
        self._reload.generation = self._reload.next_generation(memfd, edition=1)
        self._running = running = Running(plan, static_config)
        self._pool = pool = Pool(
            running, self._numbers, self._log, self._scoreboard, self._family, self._forks
        )
        self._restart = self._orders.restart = Restart(
            self._command,
            self._numbers,
            self._log,
            self._family,
            self._forks,
            self._reload,
            running,
            pool,
            self._announcer.restarted,
        )
        self._log.follow(plan.log_path, plan.log_format, plan.log_level)
        for warning in plan.warnings:
            self._log.warning(warning)
        self._start_monitor(now)
        pool.start(now)

    def _on_failure(self, child: Child, failure: messages.Failure, now: float) -> None:
        if child is self._family.next_template and self._restart is not None:
            self._restart.template_failed(failure.text, now)
        elif not self._announcer.done and (
            self._running is None or child is self._family.monitor.child
        ):
            say(failure.text)
            self._exit_code = failure.exit_code
        else:
            self._log.error(f"the new {child.name} failed: {failure.text}")
            child.kill_reason = failure.text

    def _on_monitor_ready(self, monitor: Child, listening: int, now: float) -> None:
        assert self._running is not None
        if self._running.control >= 0:
            os.close(self._running.control)
        self._running.control = listening
        if monitor is self._family.next_monitor and self._restart is not None:
            self._restart.monitor_is_ready(now)

    def _on_worker_ready(self, worker: Child, now: float) -> None:
        if self._pool is not None:
            self._pool.became_ready(worker, now)
        self._reload.offer(worker)

    def _on_snapshot(self, snapshot: messages.Snapshot, memfd: int, now: float) -> None:
        for warning in snapshot.warnings:
            self._log.warning(warning)
        if self._reload.loaded(memfd, now) and self._pool is not None:
            self._pool.policy.stop_limit = snapshot.stop_limit + self._numbers.stop_grace

    def _ask_template(self) -> None:
        template = self._family.template.child
        if template is not None and template.ready:
            template.send(messages.ReloadRequest())

    def _on_reload_over(self, failure: str | None) -> None:
        if not self._stopping and self._pool is not None:
            self._announcer.reloaded(self._pool, self._reload, failure)

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
        elif child is self._family.next_template and self._restart is not None:
            self._restart.template_ended(child, how, now)
        elif child is self._family.next_monitor and self._restart is not None:
            self._restart.monitor_ended(child.kill_reason or how, now)
        else:
            self._on_worker_gone(child, how, now)
        child.release()

    def _on_single_gone(self, single: Single, how: str, now: float) -> None:
        child = single.child
        assert child is not None
        single.ended(now)
        if self._stopping or self._exit_code is not None:
            single.start_at = None
        elif self._running is None:
            say(f"mpchat: the service could not be loaded: {how}")
            self._exit_code = ExitCode.WORKERS
        else:
            self._log.error(f"{child.name} pid {child.pid}: {how}; starting another")
            if single is self._family.template:
                self._reload.template_ended(how, now)

    def _on_worker_gone(self, worker: Child, how: str, now: float) -> None:
        if self._pool is not None:
            self._pool.ended(worker, how, now)
        self._reload.settle(now)

    # Starts

    def _start_template(self, now: float) -> None:
        template = exec_template(self._command, os.environ)
        self._family.template.started(template, now)
        files = () if self._running is None else (self._running.static_config,)
        template.send(messages.Start(LAYOUT), files)
        self._family.watch(template)

    def _template_due(self) -> float | None:
        template = self._family.template.child
        if template is None or template.ready:
            return None
        return self._family.template.since + self._numbers.template_limit

    def _start_monitor(self, now: float) -> None:
        assert self._running is not None
        self._family.monitor.started(self._forks.request_monitor(self._running), now)
        self._forks.flush()

    def _announce_once(self, now: float) -> None:
        """Say that all is up, the monitor included, unless that one is in trouble of its own."""
        monitor = self._family.monitor.child
        waits = monitor is not None and not monitor.ready
        if self._announcer.done or self._stopping or waits:
            return
        if self._running is not None and self._pool is not None and self._pool.is_up:
            self._announcer.up(self._running, self._pool, self._reload, now)

    # The end

    def _end(self) -> None:
        """Let nothing outlive us: no process, no zombie, no socket file."""
        self._signals.close()
        self._family.end(self._numbers.now_limit)
        if self._running is not None:
            self._running.listeners.close()
            self._running.inboxes.close()
            self._running.listeners.remove_file()
            if self._running.control >= 0:
                os.close(self._running.control)
            # The monitor has removed it, unless it had to be killed.
            remove_stale(self._running.control_socket())

"""The loop around the policy: waits, gathers events, carries out actions.

Rules. One thread, never blocks but in the one ``select``. Messages are read before exit statuses, so
a child's last words come before its end. The policy decides about workers; this file decides nothing
but the two singletons (template, monitor), which are simply started anew by the same backoff.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.process import become_subreaper
from mpchat.ipc.scoreboard import Scoreboard
from mpchat.supervisor.children import Child, describe_status, exec_template
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.policy import (
    Action,
    Announce,
    Backoff,
    Event,
    Exit,
    Kill,
    Policy,
    Spawn,
    StopWorker,
)
from mpchat.supervisor.reload import Reload
from mpchat.supervisor.signals import Signals
from mpchat.supervisor.sockets import Listeners
from mpchat.supervisor.systemd import Notifier

_UNSUPPORTED = {
    signal.SIGUSR1: "reopening log files",
    signal.SIGUSR2: "a rolling restart",
    signal.SIGTTIN: "one worker more",
    signal.SIGTTOU: "one worker fewer",
}


class Supervisor:
    """One service: its sockets, its scoreboard, its processes."""

    def __init__(self, command: list[str], numbers: Numbers | None = None) -> None:
        self.numbers = numbers or Numbers()
        self.log = Log()
        self.notifier = Notifier(os.environ)
        self.signals = Signals()
        self.reload = Reload(self)
        self.template: Child | None = None
        self.monitor: Child | None = None
        self.workers: dict[int, Child] = {}
        self.stopping = False
        self._command = command
        self._environment = {
            name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"
        }
        self._template_backoff = Backoff(self.numbers, random.uniform)
        self._monitor_backoff = Backoff(self.numbers, random.uniform)
        self._template_at: float | None = None
        self._template_since = 0.0
        self._monitor_at: float | None = None
        self._monitor_since = 0.0
        self._sources: int | None = None
        self._plan: messages.Plan | None = None
        self._policy: Policy | None = None
        self._listeners: Listeners | None = None
        self._scoreboard = Scoreboard.create()
        self._unsent_forks: list[tuple[messages.ForkRequest, Child, int]] = []
        self._exit_code: int | None = None
        self._last_words = ""

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
        for number in self.signals.take():
            self._on_signal(number, now)
        for child in self._children():
            self._read(child, now)
        self._reap()
        for child in self._children():
            if not child.open and (child.status is not None or not child.pid):
                self._on_gone(child, now)
        self._tick(now)

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self.signals.fileno(), select.POLLIN)
        for child in self._children():
            if child.open:
                poller.register(child.channel.fileno(), select.POLLIN)
        times = [self._template_at, self._monitor_at, self.reload.due, self._template_due()]
        if self._policy is not None:
            times.append(self._policy.next_due())
        due = min((at for at in times if at is not None), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic()) * 1000 + 1
        poller.poll(timeout)

    def _children(self) -> list[Child]:
        singles = [child for child in (self.template, self.monitor) if child is not None]
        return singles + list(self.workers.values())

    def _read(self, child: Child, now: float) -> None:
        if not child.open:
            return
        try:
            child.channel.flush()
            while (received := messages.receive(child.channel)) is not None:
                self._on_message(child, *received, now)
        except ChannelClosed:
            child.open = False

    def _reap(self) -> None:
        by_pid = {child.pid: child for child in self._children() if child.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = by_pid.get(pid)
            if child is None:
                self.log.debug(f"reaped pid {pid}, which is not one of ours")
                continue
            child.status = status
            child.open = False

    def _tick(self, now: float) -> None:
        for child in self._children():
            if not child.open and child.pid and child.status is None:
                # It closed its channel and lives: nothing can reach it any more.
                child.kill()
        due = self._template_due()
        if due is not None and due <= now and self.template is not None:
            self.log.error("the template did not load in time: killed")
            self.template.kill()
        if self._template_at is not None and self._template_at <= now:
            self._template_at = None
            self._start_template(now)
        if self._monitor_at is not None and self._monitor_at <= now:
            self._monitor_at = None
            self._start_monitor(now)
        self.reload.tick(now)
        if self._policy is not None:
            self._do(self._policy.tick(now))

    # Signals

    def _on_signal(self, number: signal.Signals, now: float) -> None:
        if number in _UNSUPPORTED:
            self.log.warning(f"{number.name}: {_UNSUPPORTED[number]} is not supported yet")
        elif number is signal.SIGHUP:
            if self._policy is not None and not self.stopping:
                self.reload.ask(now)
        elif number is not signal.SIGCHLD:
            self._stop(now, at_once=self.stopping or number is signal.SIGQUIT)

    def _stop(self, now: float, *, at_once: bool) -> None:
        if at_once:
            self.log.warning("stopping now: clients are not waited for")
        else:
            self.log.info("stopping: draining connections")
        self.stopping = True
        self.notifier.stopping()
        self._monitor_at = self._template_at = None
        if self._policy is None:
            self._exit_code = ExitCode.OK
            return
        # A fork that has not been asked for yet never happens.
        for _request, child, far in self._unsent_forks:
            os.close(far)
            child.open = False
        self._unsent_forks.clear()
        if self._listeners is not None and self._listeners.unix_path is None:
            self._listeners.close()
        self._do(self._policy.stop(now, at_once=at_once))

    # Messages

    def _on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        match message:
            case messages.Hello():
                child.identify(message.pid)
                self._watch(child)
            case messages.Ready():
                self._on_ready(child, now)
            case messages.Applied():
                child.applied_generation = message.number
                self.reload.applied(child, now)
            case messages.Retiring() if self._policy is not None:
                self.log.info(f"{child.name} pid {child.pid} was asked to end: replacing it")
                self._do(self._policy.on(Event.RETIRING, child.number, now))
            case messages.Plan():
                self._on_plan(message, descriptors, now)
            case messages.Failure():
                self._on_failure(message)
            case messages.ForkFailed():
                self.log.error(f"cannot fork: {message.text}")
            case messages.Snapshot():
                self.reload.loaded(message, descriptors[0], now)
            case messages.ReloadFailed():
                self.reload.failed(message.text, now)
            case _:
                self.log.error(f"{child.name} sent an unexpected {type(message).__name__}")

    def _on_plan(self, plan: messages.Plan, descriptors: list[int], now: float) -> None:
        assert self.template is not None
        self.template.ready = True
        if self._plan is not None:
            for descriptor in descriptors:
                os.close(descriptor)
            self.log.info(f"template pid {self.template.pid} has replaced the one that ended")
            self._send_forks()
            self.reload.template_is_back()
            return
        self._plan = plan
        self._sources = descriptors[0]
        self._listeners = Listeners(plan.listener, plan.workers)
        self.log.follow(plan.log_path, plan.log_format, plan.log_level)
        for warning in plan.warnings:
            self.log.warning(warning)
        self.reload.first(descriptors[1])
        self._policy = Policy(plan.workers, self.numbers, self.stop_limit(plan.stop_limit))
        self._start_monitor(now)
        self._do(self._policy.start(now))

    def stop_limit(self, drain: float) -> float:
        """Return how long a worker may take to end, from the seconds its drain may take."""
        return drain + self.numbers.stop_grace

    def set_stop_limit(self, drain: float) -> None:
        """Take over what a new dynamic config says of the drain."""
        if self._policy is not None:
            self._policy.stop_limit = self.stop_limit(drain)

    def _on_failure(self, failure: messages.Failure) -> None:
        if self._plan is None:
            say(failure.text)
            self._exit_code = failure.exit_code
        else:
            self.log.error(f"the new template failed: {failure.text}")

    def _on_ready(self, child: Child, now: float) -> None:
        child.ready = True
        if child is self.monitor or self._policy is None:
            return
        self.log.info(f"{child.name} is ready, pid {child.pid}")
        self._do(self._policy.on(Event.READY, child.number, now))
        self.reload.offer(child)

    def _watch(self, child: Child) -> None:
        if self.monitor is None:
            return
        targets = self._children() if child is self.monitor else [child]
        for target in targets:
            if target.pid and target is not self.monitor:
                self.monitor.send(messages.Watch(target.pid), (target.pidfd,))

    # Ends of children

    def _on_gone(self, child: Child, now: float) -> None:
        how = describe_status(child.status)
        words = child.last_words()
        if child is self.template:
            self._template_gone(how, now)
        elif child is self.monitor:
            self.monitor = None
            if not self.stopping:
                self.log.error(f"monitor pid {child.pid}: {how}; starting another")
                wait = self._monitor_backoff.failed(now - self._monitor_since)
                self._monitor_at = now + wait
        else:
            del self.workers[child.number]
            self._unsent_forks = [fork for fork in self._unsent_forks if fork[1] is not child]
            self._scoreboard.zero_gauges(child.slot, child.row)
            if self.monitor is not None and child.pid:
                self.monitor.send(messages.Unwatch(child.pid))
            expected = child.status == 0
            text = f"{child.name} pid {child.pid}: {how}"
            if words:
                text += f"\n{words}"
                self._last_words = words
            (self.log.info if expected else self.log.error)(text)
            if self._policy is not None:
                self._do(self._policy.on(Event.GONE, child.number, now))
            self.reload.applied(child, now)
        child.release()

    def _template_gone(self, how: str, now: float) -> None:
        template, self.template = self.template, None
        if self.stopping or self._exit_code is not None:
            return
        if self._plan is None:
            say(f"mpchat: the service could not be loaded: {how}")
            self._exit_code = ExitCode.WORKERS
            return
        pid = template.pid if template is not None else 0
        wait = self._template_backoff.failed(now - self._template_since)
        self.log.error(f"template pid {pid}: {how}; starting another")
        self._template_at = now + wait

    # Actions

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn():
                    self._spawn(action)
                case StopWorker():
                    self.workers[action.worker].send(messages.Stop(action.now))
                case Kill():
                    self._kill(self.workers[action.worker], action.reason)
                case Announce():
                    self._announce()
                case Exit():
                    self._finish(failed=action.failed)

    def _spawn(self, action: Spawn) -> None:
        assert self._plan is not None
        channel, far = Channel.pair()
        name = f"worker {self._plan.pool}/{action.slot}"
        child = Child(name, channel, action.worker, action.slot, action.row)
        child.fault = os.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
        child.sent_generation = child.applied_generation = self.reload.number
        self.workers[action.worker] = child
        request = messages.ForkRequest(
            "worker", action.slot, action.row, self.reload.number, [action.slot]
        )
        self._unsent_forks.append((request, child, far.detach()))
        self._send_forks()

    def _send_forks(self) -> None:
        if self.template is None or not self.template.ready:
            return
        forks, self._unsent_forks = self._unsent_forks, []
        for request, child, far in forks:
            descriptors = [far, self._scoreboard.descriptor, child.fault]
            if request.role == "worker" and self._listeners is not None:
                sockets = self._listeners.sockets
                child.sent_generation = child.applied_generation = self.reload.number
                request = messages.ForkRequest(  # noqa: PLW2901
                    "worker", request.slot, request.row, self.reload.number, request.sockets
                )
                descriptors.append(self.reload.memfd)
                descriptors += [sockets[slot].fileno() for slot in request.sockets]
            self.template.send(request, tuple(descriptors))
            os.close(far)

    def _kill(self, child: Child, reason: str) -> None:
        self.log.warning(f"{child.name} pid {child.pid} is killed: {reason}")
        if child.pid:
            child.kill()
        else:
            child.channel.close()
            child.open = False

    def _start_template(self, now: float) -> None:
        self.template = exec_template(self._command, self._environment)
        self._template_since = now
        sources = (self._sources,) if self._sources is not None else ()
        self.template.send(messages.Start(), sources)
        self._watch(self.template)

    def _template_due(self) -> float | None:
        if self.template is None or self.template.ready:
            return None
        return self._template_since + self.numbers.template_limit

    def _start_monitor(self, now: float) -> None:
        channel, far = Channel.pair()
        self.monitor = Child("monitor", channel)
        self.monitor.fault = os.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
        self._monitor_since = now
        path = self._listeners.unix_path if self._listeners is not None else None
        request = messages.ForkRequest("monitor", remove_paths=[path] if path else [])
        self._unsent_forks.append((request, self.monitor, far.detach()))
        self._send_forks()

    def _announce(self) -> None:
        plan, listeners = self._plan, self._listeners
        assert plan is not None
        assert listeners is not None
        if listeners.unix_path is not None:
            address = f"unix:{listeners.unix_path} {plan.path}"
        else:
            host = plan.listener["address"] or "localhost"
            host = f"[{host}]" if ":" in host else host
            address = f"ws://{host}:{listeners.port}{plan.path}"
        count = self._policy.ready_count() if self._policy else 0
        workers = "1 worker" if count == 1 else f"{count} workers"
        line = f"mpchat {plan.version} pid {os.getpid()}: {address}, {workers}\n"
        try:
            os.write(1, line.encode())
        except OSError as error:
            self.log.warning(f"cannot print the ready line: {error}")
        self.log.info(f"ready: {address}, {workers}")
        self.notifier.ready(self.status())

    def status(self) -> str:
        """Return the one line that the service manager shows."""
        count = self._policy.ready_count() if self._policy else 0
        return f"{count} workers ready, dynamic config generation {self.reload.number}"

    # The end

    def _finish(self, *, failed: bool) -> None:
        if not failed:
            self._exit_code = ExitCode.OK
            return
        tries = self.numbers.start_failures
        say(f"mpchat: no worker could start ({tries} tries each); the last one said:")
        say(self._last_words or "nothing")
        self._exit_code = ExitCode.WORKERS

    def _end(self) -> None:
        for child in self._children():
            if child is self.monitor:
                child.send(messages.Stop())
            else:
                child.kill()
        deadline = time.monotonic() + self.numbers.now_limit
        waiting = [child for child in self._children() if child.pid]
        for child in waiting:
            poller = select.poll()
            poller.register(child.pidfd, select.POLLIN)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            child.kill()
        self._reap()
        if self._listeners is not None:
            self._listeners.close()

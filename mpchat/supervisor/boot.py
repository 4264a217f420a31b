"""The service before its first plan: one template loads it, and most signals wait.

Rules. Any failure here ends the service with a line on stderr and an exit code, since no client is served
yet. There is one exception: a template that the system refuses is tried again, a limited number of times.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.ipc.layout import LAYOUT
from mpchat.supervisor.announcing import announce_stop
from mpchat.supervisor.child import Child, describe_status, exec_template
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.loop import Step
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.systemd import ServiceManager
from mpchat.supervisor.timing import Timing


class Boot:
    """Starts the first template and waits for its plan.

    ``serve`` is given the plan, its descriptors and the time; a StartError that it raises is the end.

    Attributes:
        exit_code: The exit code of a service that could not be loaded or was stopped; else None.
        early: Signals that wait for the plan, oldest first.
        succession: When the first template was started.
    """

    def __init__(
        self,
        command: list[str],
        timing: Timing,
        log: Log,
        manager: ServiceManager,
        family: Family,
        serve: Callable[[messages.Plan, list[int], float], None],
        now: float,
    ) -> None:
        self.exit_code: int | None = None
        self.early: list[signal.Signals] = []
        self.succession = Succession(timing, now)
        self.steps = (
            Step("look after the template", self._template_due, self._tick_template),
            Step("feed the watchdog", lambda: None, self._tick_manager),
        )
        self._command = command
        self._timing = timing
        self._log = log
        self._manager = manager
        self._family = family
        self._serve = serve
        self._template: Child | None = None

    def on_signal(self, number: signal.Signals, now: float) -> None:
        """Act on a signal, or keep it for the service."""
        match number:
            case signal.SIGCHLD:
                return
            case signal.SIGUSR1:
                self._family.reopen_logs()
            case signal.SIGHUP | signal.SIGUSR2 | signal.SIGTTIN | signal.SIGTTOU:
                # The template may have read what the operator has changed since.
                self.early.append(number)
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                at_once = number is signal.SIGQUIT
                announce_stop(self._log, self._manager, at_once=at_once)
                self.exit_code = ExitCode.OK
            case _:
                raise ValueError(f"nothing is to be done for {number.name}")

    def on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        """Deal with what the template says."""
        match message:
            case messages.Plan():
                self._on_plan(child, message, descriptors, now)
            case messages.Failure():
                say(message.text)
                self.exit_code = message.exit_code
            case _:
                raise MalformedMessage(f"{type(message).__name__} comes before the plan")

    def on_gone(self, child: Child, now: float) -> None:
        """Without the template there is no service."""
        self._family.forget(child)
        if self.exit_code is None:
            reason = f" ({child.kill_reason})" if child.kill_reason else ""
            say(f"mpchat: the service could not be loaded: {describe_status(child.status)}{reason}")
            self.exit_code = ExitCode.SOFTWARE

    def _on_plan(
        self, template: Child, plan: messages.Plan, descriptors: list[int], now: float
    ) -> None:
        template.ready = True
        try:
            self._serve(plan, descriptors, now)
        except StartError as error:
            self._cannot_start(error)

    def _template_due(self) -> float | None:
        if self._template is None:
            return self.succession.start_at
        return self.succession.since + self._timing.template_limit if self._template.open else None

    def _tick_template(self, now: float) -> None:
        template = self._template
        if template is None:
            if self.succession.is_due(now):
                self._start(now)
        elif template.open and now >= self.succession.since + self._timing.template_limit:
            reason = "it did not load in time"
            self._log.error(f"the template pid {template.pid} is killed: {reason}")
            template.end(reason)

    def _tick_manager(self, now: float) -> None:
        self._manager.tick(now, "", healthy=True)

    def _start(self, now: float) -> None:
        try:
            template = exec_template(self._command, os.environ, messages.Start(LAYOUT))
        except OSError as error:
            text = f"the system refuses a process for the template: {error.strerror}"
            if self.succession.failed(now) < self._timing.start_failures:
                self._log.error(text)
            else:
                self._cannot_start(StartError(text, ExitCode.OS))
            return
        self._template = template
        self._family.add(template)
        self.succession.started(now)

    def _cannot_start(self, error: StartError) -> None:
        say(f"mpchat: {error}")
        self.exit_code = error.exit_code

"""The template: started, asked whether it still answers, given up and replaced.

Rules. Loading has the load limit only, since an author's modules may take their time. Once it has loaded,
a template that neither answers nor forks within seconds is stopped, deadlocked or swapped out: it is
killed, and the next one is started without waiting for its end, which may never come.
"""

from __future__ import annotations

import os

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.ipc.layout import LAYOUT
from mpchat.supervisor.children import Child, exec_template
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.numbers import Numbers


class Templates:
    """Looks after the template, and after the next one while there is one."""

    def __init__(
        self,
        command: list[str],
        numbers: Numbers,
        log: Log,
        family: Family,
        editions: Editions,
    ) -> None:
        self._command = command
        self._numbers = numbers
        self._log = log
        self._family = family
        self._editions = editions

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        single = self._family.template
        template = single.child
        if template is None:
            return single.start_at
        if not template.ready:
            return single.since + self._numbers.template_limit
        times = [one.answers.due for one in self._loaded() if one.answers.due is not None]
        if not template.answers:
            times.append(self._ping_due(template))
        return min(times, default=None)

    def tick(self, now: float) -> str:
        """Start a template, or see whether there still is one; return why it was replaced, or nothing.

        Raises:
            StartError: The system refuses the first one again and again.
        """
        single = self._family.template
        if single.is_due(now):
            self._start(now)
        template = single.child
        if template is not None and not template.ready:
            if now >= single.since + self._numbers.template_limit:
                return self._give_up(template, "it did not load in time", now)
            return ""
        for one in self._loaded():
            if one.answers.due is not None and one.answers.due <= now:
                return self._give_up(one, "it does not answer any more", now)
        if template is not None and not template.answers and self._ping_due(template) <= now:
            template.answers.ask(self._numbers.answer_limit, now)
            template.send(messages.Ping())
        return ""

    def replace(self, reason: str, now: float) -> None:
        """Kill the template; another one takes its place as soon as the backoff allows."""
        if self._family.template.child is not None:
            self._give_up(self._family.template.child, reason, now)

    def ask_to_reload(self, now: float) -> None:
        """Have the dynamic config read, if there is a template that can."""
        template = self._family.template.child
        if template is not None and template.ready and template.open:
            template.answers.ask(self._numbers.reload_limit, now)
            template.send(messages.ReloadRequest())

    def _give_up(self, template: Child, reason: str, now: float) -> str:
        """Kill a template; return the reason if it is one that is replaced."""
        self._log.error(f"the template pid {template.pid} is killed: {reason}")
        template.end(reason)
        if self._editions.is_empty or template is not self._family.template.child:
            return ""
        self._family.leaving.append(template)
        self._family.template.ended(now)
        return reason

    def _start(self, now: float) -> None:
        files: tuple[int, ...] = ()
        folder = None
        if not self._editions.is_empty:
            # While slots move, this template is needed for the way back only.
            edition = self._editions.settled
            files, folder = (edition.static_config,), edition.folder
        try:
            template = exec_template(
                self._command, os.environ, messages.Start(LAYOUT), files, folder=folder
            )
        except OSError as error:
            failures = self._family.template.failed(now)
            text = f"the system refuses a process for the template: {error.strerror}"
            if self._editions.is_empty and failures >= self._numbers.start_failures:
                raise StartError(text, ExitCode.OS) from error
            self._log.error(text)
            return
        self._family.template.started(template, now)
        self._family.watch()

    def _loaded(self) -> list[Child]:
        found = (self._family.template.child, self._family.next_template)
        return [one for one in found if one is not None and one.ready and one.open]

    def _ping_due(self, template: Child) -> float:
        return template.answers.idle_since() + self._numbers.ping_interval

"""The templates of a service: the one that forks, and the one that a restart loads.

Rules. While a template loads, only the load limit applies, since an author's modules may take their time.
After that, a template that neither answers nor forks within seconds is stopped, deadlocked or swapped
out: it is killed, and the next one starts without waiting for its end, which may never come.
"""

from __future__ import annotations

import os

from mpchat.ipc import messages
from mpchat.ipc.layout import LAYOUT
from mpchat.supervisor.child import Child, Role, exec_template
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.timing import Timing


class Templates:
    """Starts templates, asks whether they still answer, and replaces those that do not.

    Attributes:
        restarts: Templates started in place of one that had ended, or was killed.
    """

    def __init__(
        self,
        command: list[str],
        timing: Timing,
        log: Log,
        family: Family,
        editions: Editions,
        succession: Succession,
    ) -> None:
        self._command = command
        self._timing = timing
        self._log = log
        self._family = family
        self._editions = editions
        self._succession = succession
        self.restarts = 0

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        template = self._family.of(Role.TEMPLATE)
        if template is None:
            return self._succession.start_at
        if not template.ready:
            return self._succession.since + self._timing.template_limit
        times = [one.answers.due for one in self._loaded() if one.answers.due is not None]
        if not template.answers:
            times.append(self._ping_due(template))
        return min(times, default=None)

    def tick(self, now: float) -> str:
        """Start a template, or see whether it still answers; return why it was replaced, or nothing."""
        if self._succession.is_due(now):
            self._start(now)
        template = self._family.of(Role.TEMPLATE)
        if template is not None and not template.ready:
            if now >= self._succession.since + self._timing.template_limit:
                return self._give_up(template, "it did not load in time", now)
            return ""
        for one in self._loaded():
            if one.answers.due is not None and one.answers.due <= now:
                return self._give_up(one, "it does not answer any more", now)
        if template is not None and not template.answers and self._ping_due(template) <= now:
            template.answers.ask(self._timing.answer_limit, now)
            template.send(messages.Ping())
        return ""

    def replace(self, reason: str, now: float) -> None:
        """Kill the template; another one takes its place as soon as the backoff allows."""
        template = self._family.of(Role.TEMPLATE)
        if template is not None:
            self._give_up(template, reason, now)

    def ended(self, template: Child, how: str, now: float) -> None:
        """Its process is gone: start another one."""
        self._log.error(f"{template.name} pid {template.pid}: {how}; starting another")
        self._succession.ended(now)

    def hurry(self) -> None:
        """Start the next one soon: without it there is no worker, and without a worker no service."""
        self._succession.hurry(self._succession.since + self._timing.rescue_interval)

    def ask_to_reload(self, layer: tuple[int, ...], now: float) -> None:
        """Ask the template to read the dynamic config, if there is one to ask.

        ``layer``: the memfd of what the config service has said, if it has said anything.

        Raises:
            OSError: The system refuses what it takes to pass the memfd on.
        """
        template = self._family.of(Role.TEMPLATE)
        if template is not None and template.ready and template.open:
            template.send(messages.ReloadRequest(follows=bool(layer)), layer)
            template.answers.ask(self._timing.reload_limit, now)

    # The one that a restart loads

    def start_next(self, folder: str, layer: tuple[int, ...]) -> None:
        """Start a second template, which loads what is in this folder now; ``layer``: see above.

        Raises:
            OSError: The system refuses it.
        """
        start = messages.Start(LAYOUT, follows=bool(layer))
        template = exec_template(
            self._command, os.environ, start, layer, listens=True, folder=folder
        )
        template.role = Role.NEXT_TEMPLATE
        self._family.add(template)

    def dismiss_next(self) -> None:
        """End the second template, if there is one."""
        template = self._family.of(Role.NEXT_TEMPLATE)
        if template is not None:
            self._family.dismiss(template)

    def settle(self, now: float) -> None:
        """Put the second template in the place of the first."""
        old, new = self._family.of(Role.TEMPLATE), self._family.of(Role.NEXT_TEMPLATE)
        if old is not None:
            self._family.dismiss(old)
        assert new is not None
        new.role = Role.TEMPLATE
        self._succession.started(now)

    def _start(self, now: float) -> None:
        # While slots move, this template is needed for the way back only.
        edition = self._editions.settled
        try:
            template = exec_template(
                self._command,
                os.environ,
                messages.Start(LAYOUT),
                (edition.static_config, edition.generation.certificates),
                folder=edition.folder,
            )
        except OSError as error:
            self._succession.failed(now)
            self._log.error(f"the system refuses a process for the template: {error.strerror}")
            return
        self._family.add(template)
        self._succession.started(now)
        self.restarts += 1

    def _give_up(self, template: Child, reason: str, now: float) -> str:
        """Kill a template; return the reason if it is one that is replaced."""
        self._log.error(f"the template pid {template.pid} is killed: {reason}")
        template.end(reason)
        if template.role is not Role.TEMPLATE:
            return ""
        template.role = Role.LEAVING
        self._succession.ended(now)
        return reason

    def _loaded(self) -> list[Child]:
        found = (self._family.of(Role.TEMPLATE), self._family.of(Role.NEXT_TEMPLATE))
        return [one for one in found if one is not None and one.ready and one.open]

    def _ping_due(self, template: Child) -> float:
        return template.answers.idle_since() + self._timing.ping_interval

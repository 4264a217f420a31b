"""One reload of the dynamic config at a time, from the question to every child's confirmation.

Rules. The template reads and validates, the supervisor numbers and hands on, it never looks inside. A
generation is a sealed memfd and its number; each child has at most one unconfirmed, and the newest
replaces one that waits. Further requests during a reload are one request after it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpchat.ipc import messages
from mpchat.supervisor.children import Child

if TYPE_CHECKING:
    from mpchat.supervisor.supervisor import Supervisor


class Reload:
    """The current generation and the reload that may be under way."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.number = 0
        self.memfd = -1
        self.due: float | None = None
        self._loading = False
        self._applying = False
        self._again = False

    def first(self, memfd: int) -> None:
        """Take the generation that came with the plan."""
        self.number = 1
        self.memfd = memfd

    def ask(self, now: float) -> None:
        """Begin a reload, or note that one is wanted after the present one."""
        if self._loading or self._applying:
            self._again = True
            return
        self._loading = True
        self.due = now + self._supervisor.numbers.reload_limit
        self._supervisor.notifier.reloading()
        self._ask_template()

    def template_is_back(self) -> None:
        """Repeat the question to a template that replaced a dead one."""
        if self._loading:
            self._ask_template()

    def loaded(self, snapshot: messages.Snapshot, memfd: int, now: float) -> None:
        """Number a validated config and hand it to every child."""
        if not self._loading:
            os.close(memfd)
            return
        supervisor = self._supervisor
        for warning in snapshot.warnings:
            supervisor.log.warning(warning)
        if self.memfd >= 0:
            os.close(self.memfd)
        self.memfd = memfd
        self.number += 1
        supervisor.set_stop_limit(snapshot.stop_limit)
        self._loading = False
        self._applying = True
        self.due = now + supervisor.numbers.apply_limit
        for child in supervisor.workers.values():
            self.offer(child)
        self._conclude(now)

    def failed(self, text: str, now: float) -> None:
        """Keep the old generation and say why."""
        if not self._loading:
            return
        supervisor = self._supervisor
        for line in text.splitlines():
            supervisor.log.error(line)
        kept = f"generation {self.number} stays"
        supervisor.log.error(f"the dynamic config was not reloaded: {kept}")
        first = text.splitlines()[0] if text else ""
        self._finish(f"{supervisor.status()}; the last reload failed: {first}", now)

    def offer(self, child: Child) -> None:
        """Give a child the newest generation unless it still owes us a confirmation."""
        settled = child.applied_generation == child.sent_generation
        if child.ready and settled and child.applied_generation < self.number:
            child.sent_generation = self.number
            child.send(messages.Generation(self.number), (self.memfd,))

    def applied(self, child: Child, now: float) -> None:
        """A child confirmed a generation, or is gone."""
        if child.open:
            self.offer(child)
        self._conclude(now)

    def tick(self, now: float) -> None:
        """Give up what takes too long."""
        if self.due is None or now < self.due:
            return
        supervisor = self._supervisor
        if self._loading:
            if supervisor.template is not None:
                supervisor.template.kill()
            limit = supervisor.numbers.reload_limit
            self.failed(f"the template did not answer within {limit:g} s", now)
        else:
            for child in self._silent():
                supervisor.log.error(
                    f"{child.name} pid {child.pid} has not confirmed generation {self.number}"
                )
            self._finish(supervisor.status(), now)

    def _ask_template(self) -> None:
        template = self._supervisor.template
        if template is not None and template.ready:
            template.send(messages.ReloadRequest())

    def _silent(self) -> list[Child]:
        workers = self._supervisor.workers.values()
        return [
            child for child in workers if child.ready and child.applied_generation < self.number
        ]

    def _conclude(self, now: float) -> None:
        if self._applying and not self._silent():
            supervisor = self._supervisor
            ready = sum(child.ready for child in supervisor.workers.values())
            supervisor.log.info(
                f"dynamic config generation {self.number} is applied in {ready} workers"
            )
            self._finish(supervisor.status(), now)

    def _finish(self, status: str, now: float) -> None:
        self._loading = self._applying = False
        self.due = None
        if self._supervisor.stopping:
            return
        self._supervisor.notifier.ready(status)
        if self._again:
            self._again = False
            self.ask(now)

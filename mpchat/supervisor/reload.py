"""One reload of the dynamic config at a time, from the question to every worker's confirmation.

Rules. The template reads and validates, the supervisor numbers and hands on, it never looks inside. A
generation is a sealed memfd and its number; each worker has at most one unconfirmed, and the newest
replaces one that waits. Further requests during a reload are one request after it. Who asked is told
the end of a reload that began after the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from mpchat.ipc import messages
from mpchat.linux import descriptors as fds
from mpchat.supervisor.children import Child
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.log import Log
from mpchat.supervisor.numbers import Numbers

_MOST_DEATHS = 2
"""One template may die of something else while it is asked."""

Asker: TypeAlias = Callable[[str], None]
"""Is told the reasons why what was asked for is not done, one per line; none if it is."""


class Reload:
    """The newest generation and the reload that may be under way.

    ``ask_template`` sends the question if a template can answer; ``begun`` and ``over`` tell the
    service manager, ``over`` with the reason if the reload failed.
    """

    def __init__(
        self,
        numbers: Numbers,
        log: Log,
        editions: Editions,
        workers: Mapping[int, Child],
        ask_template: Callable[[], None],
        begun: Callable[[], None],
        over: Callable[[str | None], None],
    ) -> None:
        self.due: float | None = None
        self._numbers = numbers
        self._log = log
        self._editions = editions
        self._workers = workers
        self._ask_template = ask_template
        self._begun = begun
        self._over = over
        self._loading = False
        self._applying = False
        self._again = False
        self._held = False
        self._deaths = 0
        self._askers: list[Asker] = []
        self._later_askers: list[Asker] = []

    @property
    def is_under_way(self) -> bool:
        """Whether a reload has begun and not ended."""
        return self._loading or self._applying

    def ask(self, now: float, *askers: Asker) -> None:
        """Begin a reload, or note that one is wanted after the present one, or after a restart."""
        if self.is_under_way or self._held:
            self._again = True
            self._later_askers += askers
            return
        self._askers += askers
        self._loading = True
        self._deaths = 0
        self.due = now + self._numbers.reload_limit
        self._begun()
        self._ask_template()

    def hold(self) -> None:
        """Begin no reload until ``release``: a restart is under way."""
        self._held = True

    def release(self, now: float) -> None:
        """Begin the reload that was asked for meanwhile."""
        self._held = False
        if not self.is_under_way:
            self._begin_again(now)

    def template_is_ready(self) -> None:
        """Repeat the question to a template that replaced a dead one."""
        if self._loading:
            self._ask_template()

    def template_ended(self, how: str, now: float) -> None:
        """Give up if the question itself seems to be what templates die of."""
        if not self._loading:
            return
        self._deaths += 1
        if self._deaths == _MOST_DEATHS:
            self.failed(f"reading it ended the template {self._deaths} times: {how}", now)

    def loaded(self, memfd: int, drain_limit: float, now: float) -> None:
        """Number a validated config and hand it to every worker, if anybody waits for it."""
        if not self._loading:
            fds.close(memfd)
            return
        self._editions.renew_generation(memfd, drain_limit)
        self._loading = False
        self._applying = True
        self.due = now + self._numbers.apply_limit
        self._offer_to_all(now)
        self.settle(now)

    def failed(self, text: str, now: float) -> None:
        """Keep the old generation and say why."""
        if not self._loading:
            return
        for line in text.splitlines():
            self._log.error(line)
        number = self._editions.generation
        self._log.error(f"the dynamic config was not reloaded: generation {number} stays")
        self._finish(text, now, failed=True)

    def offer(self, worker: Child, now: float) -> None:
        """Give a worker the newest generation unless it still owes us a confirmation.

        One of another edition goes on with what it has: it is about to be replaced. What the system
        refuses to send is offered again with a later ``tick``.
        """
        if not self._is_owed(worker) or now < worker.offer_at:
            return
        generation = self._editions.current.generation
        try:
            worker.send(messages.Generation(generation.number), (generation.memfd,))
        except OSError as error:
            text = f"cannot give {worker.name} pid {worker.pid} the dynamic config"
            self._log.error(f"{text}: {error.strerror}")
            worker.offer_at = now + self._numbers.first_backoff
            return
        worker.sent_generation = generation.number

    def applied(self, worker: Child, number: int, now: float) -> None:
        """A worker confirmed a generation; it may be owed a newer one.

        An older number than the one it was sent means that it could not take that one now.
        """
        if number < worker.sent_generation:
            worker.offer_at = now + self._numbers.largest_backoff
        worker.applied_generation = worker.sent_generation = number
        self.offer(worker, now)
        self.settle(now)

    def settle(self, now: float) -> None:
        """End the reload if every worker that lives has confirmed."""
        if self._applying and not self._silent():
            ready = sum(worker.ready and self._is_ours(worker) for worker in self._workers.values())
            number = self._editions.generation
            self._log.info(f"dynamic config generation {number} is applied in {ready} workers")
            self._finish("", now)

    def is_overdue(self, now: float) -> bool:
        """Whether the template has not answered in time; the caller replaces it."""
        return self._loading and self.due is not None and self.due <= now

    def next_due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        times = [w.offer_at for w in self._workers.values() if self._is_owed(w)]
        if self.due is not None:
            times.append(self.due)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Offer again what was refused; name who has not confirmed in time, and go on without them."""
        self._offer_to_all(now)
        if self._applying and self.due is not None and self.due <= now:
            number = self._editions.generation
            reasons = [
                f"{worker.name} pid {worker.pid} has not confirmed generation {number}"
                for worker in self._silent()
            ]
            for reason in reasons:
                self._log.error(reason)
            self._finish("\n".join(reasons), now)

    def _offer_to_all(self, now: float) -> None:
        for worker in self._workers.values():
            self.offer(worker, now)

    def _is_owed(self, worker: Child) -> bool:
        """Whether it can be given the newest generation, and has not been."""
        settled = worker.applied_generation == worker.sent_generation
        newer = worker.applied_generation < self._editions.generation
        return worker.ready and worker.open and settled and newer and self._is_ours(worker)

    def _is_ours(self, worker: Child) -> bool:
        """Whether it is of the edition that has validated the newest generation."""
        return worker.edition == self._editions.edition

    def _silent(self) -> list[Child]:
        return [
            worker
            for worker in self._workers.values()
            if worker.ready
            and self._is_ours(worker)
            and worker.applied_generation < self._editions.generation
        ]

    def _finish(self, reasons: str, now: float, *, failed: bool = False) -> None:
        self._loading = self._applying = False
        self.due = None
        self._over(reasons.partition("\n")[0] if failed else None)
        askers, self._askers = self._askers, []
        for asker in askers:
            asker(reasons)
        if not self._held:
            self._begin_again(now)

    def _begin_again(self, now: float) -> None:
        if self._again:
            self._again = False
            later, self._later_askers = self._later_askers, []
            self.ask(now, *later)

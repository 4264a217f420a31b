"""Reloads carried out: the template is asked, and workers are given the newest generation.

Rules. ``reload`` decides. The supervisor numbers a dynamic config and hands it on; it never looks inside.
Each worker has at most one generation unconfirmed; the newest one replaces one that waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.linux import descriptors as fds
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.child import Child
from mpchat.supervisor.config_service import ConfigService
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.log import Log
from mpchat.supervisor.reload import (
    Action,
    Asker,
    AskTemplate,
    Begin,
    Discard,
    End,
    Event,
    Install,
    Outcome,
    Phase,
    Reload,
    ReplaceTemplate,
)
from mpchat.supervisor.templates import Templates
from mpchat.supervisor.timing import Timing


class Reloading:
    """Carries out what a reload's table decides."""

    def __init__(
        self,
        timing: Timing,
        log: Log,
        editions: Editions,
        workers: Mapping[int, Child],
        templates: Templates,
        announcer: Announcer,
        config_service: ConfigService,
    ) -> None:
        self._reload = Reload(timing)
        self._timing = timing
        self._log = log
        self._editions = editions
        self._workers = workers
        self._templates = templates
        self._announcer = announcer
        self._config_service = config_service
        self._loaded: tuple[int, int, list[dict[str, Any]], float] | None = None
        """What no action has taken yet: two memfds, what is shown of the second, a limit for drains"""

    @property
    def is_under_way(self) -> bool:
        """Whether a reload has begun and not ended."""
        return self._reload.is_under_way

    def ask(self, now: float, *askers: Asker) -> None:
        """Reload now, or once more after what is under way."""
        self._on(Event.ASKED, now, askers=askers)

    def hold(self, now: float) -> None:
        """Begin no reload until ``release``; none may be under way."""
        self._on(Event.HOLD, now)

    def release(self, now: float) -> None:
        """Begin the reload that was asked for since ``hold``."""
        self._on(Event.RELEASE, now)

    # What the template does

    def template_is_ready(self, now: float) -> None:
        """A template has taken the place of one that ended."""
        self._on(Event.TEMPLATE_READY, now)

    def template_ended(self, how: str, now: float) -> None:
        """The template is gone, perhaps because of what it was asked."""
        self._on(Event.TEMPLATE_ENDED, now, how)

    def loaded(
        self, snapshot: messages.Snapshot, memfd: int, certificates: int, now: float
    ) -> None:
        """The template has a valid dynamic config and valid certificates; both memfds are ours."""
        self._loaded = memfd, certificates, snapshot.certificates, snapshot.stop_limit
        self._announcer.parsed(has_mistakes=False)
        self._on(Event.LOADED, now)

    def failed(self, reason: str, now: float) -> None:
        """The template has no valid dynamic config."""
        self._announcer.parsed(has_mistakes=True)
        self._on(Event.FAILED, now, reason)

    # What workers do

    def offer(self, worker: Child, now: float) -> None:
        """Give a worker the newest generation unless it has one to confirm.

        A worker of another edition keeps its generation: it is about to be replaced. If the system
        refuses to send the message, a later ``tick`` offers the generation again.
        """
        if not self._is_owed(worker) or now < worker.offer_at:
            return
        generation = self._editions.current.generation
        try:
            descriptors = (generation.memfd, generation.certificates)
            worker.send(messages.Generation(generation.number), descriptors)
        except OSError as error:
            text = f"cannot give {worker.name} pid {worker.pid} the dynamic config"
            self._log.error(f"{text}: {error.strerror}")
            worker.offer_at = now + self._timing.first_backoff
            return
        worker.sent_generation = generation.number

    def applied(self, worker: Child, number: int, now: float) -> None:
        """A worker confirms a generation, and may be owed a newer one.

        A number below the one that it was sent means that it cannot take that one now.
        """
        if number < worker.sent_generation:
            worker.offer_at = now + self._timing.max_backoff
        worker.applied_generation = worker.sent_generation = number
        self.offer(worker, now)
        self.settle(now)

    def settle(self, now: float) -> None:
        """End the reload if every worker that lives has confirmed."""
        if self._reload.phase is Phase.APPLYING and not self._silent():
            self._on(Event.SETTLED, now)

    # Time

    def next_due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        times = [w.offer_at for w in self._workers.values() if self._is_owed(w)]
        if self._reload.due is not None:
            times.append(self._reload.due)
        if self._may_try():
            times.append(0.0)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Offer what was refused once more, end what takes too long, try what the config service says."""
        self._offer_to_all(now)
        if self._may_try():
            self._config_service.begin_trial()
            self.ask(now, self._config_service.end_trial)
        if self._reload.due is not None and self._reload.due <= now:
            number = self._editions.generation
            reasons = [
                f"{worker.name} pid {worker.pid} has not confirmed generation {number}"
                for worker in self._silent()
            ]
            self._on(Event.OVERDUE, now, "\n".join(reasons))

    def _may_try(self) -> bool:
        """Whether to begin a reload for what the config service says: never together with another."""
        return self._config_service.has_offer and self._reload.phase is Phase.IDLE

    # Actions

    def _on(self, event: Event, now: float, reason: str = "", askers: Sequence[Asker] = ()) -> None:
        for action in self._reload.on(event, now, reason, askers):
            self._do(action, now)

    def _do(self, action: Action, now: float) -> None:
        match action:
            case Begin():
                if not self._config_service.is_tried:
                    self._announcer.reloading()
            case AskTemplate():
                try:
                    self._templates.ask_to_reload(self._config_service.to_load(), now)
                except OSError as error:
                    text = f"the template cannot be asked: {describe_os_error(error)}"
                    self._on(Event.FAILED, now, text)
            case ReplaceTemplate():
                self._templates.replace(action.reason, now)
            case Install():
                assert self._loaded is not None
                self._editions.renew_generation(*self._loaded)
                self._loaded = None
                self._config_service.installed()
                self._offer_to_all(now)
                self.settle(now)
            case Discard():
                assert self._loaded is not None
                fds.close_all(self._loaded[:2])
                self._loaded = None
            case End():
                self._end(action)

    def _end(self, end: End) -> None:
        number, failed = self._editions.generation, end.outcome is Outcome.FAILED
        # A layer is tried again and again until it is another one: the console says once what is wrong.
        if not (failed and self._config_service.is_tried):
            for line in end.reason.splitlines():
                self._log.error(line)
        match end.outcome:
            case Outcome.APPLIED:
                ready = sum(w.ready and self._is_ours(w) for w in self._workers.values())
                self._log.info(f"dynamic config generation {number} is applied in {ready} workers")
            case Outcome.FAILED if not self._config_service.is_tried:
                self._log.error(f"the dynamic config was not reloaded: generation {number} stays")
        if self._config_service.is_tried:
            self._announcer.show_generation()
        else:
            self._announcer.reloaded(
                end.reason if failed else None, confirmed=end.outcome is Outcome.APPLIED
            )
        for asker in end.askers:
            asker(end.reason)

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
        """Return the workers that have not confirmed the newest generation."""
        return [
            worker
            for worker in self._workers.values()
            if worker.ready
            and self._is_ours(worker)
            and worker.applied_generation < self._editions.generation
        ]

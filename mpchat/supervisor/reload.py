"""What to do when something happens to a reload of the dynamic config: pure decisions.

Rules. One table names what each (phase, event) pair means. A pair that cannot happen is not in it and
raises: there is no default cell. Time, reasons and askers come with the event; actions are carried out by
``reloading``.

Theory of operation. LOADING: the template reads and validates. APPLYING: the workers are given the new
generation and confirm it. A request that comes meanwhile stands for one more reload afterwards, because
the template may have read the file already. HELD: a restart is under way, and requests wait for its end.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mpchat.supervisor.timing import Timing

_MAX_DEATHS = 2
"""Templates that may end during one reload: the first may have ended for another reason."""

Asker: TypeAlias = Callable[[str], None]
"""Called once with the reasons why a request failed, one per line; with "" if it succeeded."""


class Phase(enum.Enum):
    """How far a reload is."""

    IDLE = "idle"
    LOADING = "loading"
    APPLYING = "applying"
    HELD = "held"


class Event(enum.Enum):
    """What can happen to a reload."""

    ASKED = "asked"
    """Somebody wants the dynamic config read again"""
    TEMPLATE_READY = "template ready"
    """A template has taken the place of one that ended"""
    TEMPLATE_ENDED = "template ended"
    LOADED = "loaded"
    """The template has a valid dynamic config"""
    FAILED = "failed"
    """The template has none, for a reason"""
    OVERDUE = "overdue"
    SETTLED = "settled"
    """Every worker has confirmed the new generation"""
    HOLD = "hold"
    """A restart begins"""
    RELEASE = "release"
    """The restart has ended"""


class Outcome(enum.Enum):
    """How a reload ends."""

    APPLIED = "applied"
    UNCONFIRMED = "unconfirmed"
    """The generation is the newest one, but some workers have not confirmed it"""
    FAILED = "failed"
    """The old generation stays"""


@dataclass(frozen=True)
class Begin:
    """Tell the service manager that a reload begins."""


@dataclass(frozen=True)
class AskTemplate:
    """Ask the template to read the dynamic config, if there is one to ask."""


@dataclass(frozen=True)
class ReplaceTemplate:
    """Kill the template and start another one."""

    reason: str


@dataclass(frozen=True)
class Install:
    """Number the dynamic config that was loaded, and offer it to every worker."""


@dataclass(frozen=True)
class Discard:
    """Close the dynamic config that was loaded: no reload waits for it."""


@dataclass(frozen=True)
class End:
    """Report the outcome to the log, the service manager and those who asked."""

    outcome: Outcome
    reason: str
    askers: tuple[Asker, ...]


Action: TypeAlias = Begin | AskTemplate | ReplaceTemplate | Install | Discard | End


@dataclass(frozen=True)
class _News:
    now: float
    reason: str
    askers: Sequence[Asker]


class Reload:
    """The reload that may be under way.

    Attributes:
        phase: How far it is.
        due: When the phase has taken too long, None if there is no limit.
    """

    def __init__(self, timing: Timing) -> None:
        self.phase = Phase.IDLE
        self.due: float | None = None
        self._timing = timing
        self._deaths = 0
        self._again = False
        self._askers: list[Asker] = []
        self._later_askers: list[Asker] = []

    @property
    def is_under_way(self) -> bool:
        """Whether a reload has begun and not ended."""
        return self.phase in {Phase.LOADING, Phase.APPLYING}

    def on(
        self, event: Event, now: float, reason: str = "", askers: Sequence[Asker] = ()
    ) -> list[Action]:
        """Return what follows from an event.

        Raises:
            KeyError: The event cannot happen in this phase.
        """
        return TABLE[self.phase, event](self, _News(now, reason, askers))

    # Cells of the table

    def _begins(self, news: _News) -> list[Action]:
        self.phase = Phase.LOADING
        self.due = news.now + self._timing.reload_limit
        self._deaths = 0
        self._askers += news.askers
        return [Begin(), AskTemplate()]

    def _waits(self, news: _News) -> list[Action]:
        self._again = True
        self._later_askers += news.askers
        return []

    def _asks_again(self, news: _News) -> list[Action]:
        return [AskTemplate()]

    def _loses_template(self, news: _News) -> list[Action]:
        self._deaths += 1
        if self._deaths < _MAX_DEATHS:
            return []
        reason = f"reading it ended the template {self._deaths} times: {news.reason}"
        return self._end(Outcome.FAILED, reason, news.now)

    def _applies(self, news: _News) -> list[Action]:
        self.phase = Phase.APPLYING
        self.due = news.now + self._timing.apply_limit
        return [Install()]

    def _discards(self, news: _News) -> list[Action]:
        return [Discard()]

    def _fails(self, news: _News) -> list[Action]:
        return self._end(Outcome.FAILED, news.reason, news.now)

    def _loads_too_long(self, news: _News) -> list[Action]:
        limit = self._timing.reload_limit
        reason = f"the template did not answer within {limit:g} s"
        # The template goes first: a reload that waited must not be asked of it.
        return [
            ReplaceTemplate(f"it did not reload within {limit:g} s"),
            *self._end(Outcome.FAILED, reason, news.now),
        ]

    def _is_applied(self, news: _News) -> list[Action]:
        return self._end(Outcome.APPLIED, "", news.now)

    def _applies_too_long(self, news: _News) -> list[Action]:
        return self._end(Outcome.UNCONFIRMED, news.reason, news.now)

    def _is_held(self, news: _News) -> list[Action]:
        self.phase = Phase.HELD
        return []

    def _is_released(self, news: _News) -> list[Action]:
        self.phase = Phase.IDLE
        return self._begin_waiting(news.now)

    def _nothing(self, news: _News) -> list[Action]:
        return []

    # Shared steps

    def _end(self, outcome: Outcome, reason: str, now: float) -> list[Action]:
        askers, self._askers = tuple(self._askers), []
        self.phase, self.due = Phase.IDLE, None
        return [End(outcome, reason, askers), *self._begin_waiting(now)]

    def _begin_waiting(self, now: float) -> list[Action]:
        if not self._again:
            return []
        askers, self._later_askers = self._later_askers, []
        self._again = False
        return self._begins(_News(now, "", askers))


_Cell: TypeAlias = Callable[[Reload, _News], list[Action]]

TABLE: dict[tuple[Phase, Event], _Cell] = {
    (Phase.IDLE, Event.ASKED): Reload._begins,
    (Phase.IDLE, Event.TEMPLATE_READY): Reload._nothing,
    (Phase.IDLE, Event.TEMPLATE_ENDED): Reload._nothing,
    # The answer of a template to a reload that has ended without it.
    (Phase.IDLE, Event.LOADED): Reload._discards,
    (Phase.IDLE, Event.FAILED): Reload._nothing,
    (Phase.IDLE, Event.HOLD): Reload._is_held,
    (Phase.LOADING, Event.ASKED): Reload._waits,
    (Phase.LOADING, Event.TEMPLATE_READY): Reload._asks_again,
    (Phase.LOADING, Event.TEMPLATE_ENDED): Reload._loses_template,
    (Phase.LOADING, Event.LOADED): Reload._applies,
    (Phase.LOADING, Event.FAILED): Reload._fails,
    (Phase.LOADING, Event.OVERDUE): Reload._loads_too_long,
    (Phase.APPLYING, Event.ASKED): Reload._waits,
    (Phase.APPLYING, Event.TEMPLATE_READY): Reload._nothing,
    (Phase.APPLYING, Event.TEMPLATE_ENDED): Reload._nothing,
    (Phase.APPLYING, Event.LOADED): Reload._discards,
    (Phase.APPLYING, Event.FAILED): Reload._nothing,
    (Phase.APPLYING, Event.OVERDUE): Reload._applies_too_long,
    (Phase.APPLYING, Event.SETTLED): Reload._is_applied,
    (Phase.HELD, Event.ASKED): Reload._waits,
    (Phase.HELD, Event.TEMPLATE_READY): Reload._nothing,
    (Phase.HELD, Event.TEMPLATE_ENDED): Reload._nothing,
    (Phase.HELD, Event.LOADED): Reload._discards,
    (Phase.HELD, Event.FAILED): Reload._nothing,
    (Phase.HELD, Event.RELEASE): Reload._is_released,
}

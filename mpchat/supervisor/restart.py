"""What to do when something happens to a restart: pure decisions.

Rules. One restart at a time. One table names what each (phase, event) pair means. A pair that cannot
happen is not in it and raises: there is no default cell. Facts about the service come with the event;
actions are carried out by ``restarting``.

Theory of operation. LOADING: a second template loads what is on the disk now. BROKER: where the service
has rooms, their broker is replaced first, so that no old one serves new workers. MOVING: workers are
forked from the new template, slot by slot (the policy renews them); the old template stays for the way
back. REVERTING: slots go that way, and the broker does. MONITOR: all slots have moved, and a new monitor
takes over the control socket from the old one. SLOT: one worker is replaced, from the template that there
is. A restart that fails changes nothing in the end. Reloads of the dynamic config wait until a restart of
the whole service has ended.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import TypeAlias

from mpchat.supervisor.reload import Asker
from mpchat.supervisor.timing import Timing


class Phase(enum.Enum):
    """How far a restart is."""

    IDLE = "idle"
    LOADING = "loading"
    BROKER = "broker"
    MOVING = "moving"
    REVERTING = "reverting"
    MONITOR = "monitor"
    SLOT = "slot"


RENEWING = {Phase.MOVING, Phase.REVERTING, Phase.SLOT}
"""Phases that end when the policy has renewed what they asked for"""


class Event(enum.Enum):
    """What can happen to a restart."""

    BEGIN = "begin"
    """Nothing keeps the next request waiting"""
    REFUSED = "refused"
    """The system starts no second template"""
    LOADED = "loaded"
    """The new template has a plan that can be run"""
    FAILED = "failed"
    """The new template cannot run the service, or is gone"""
    OVERDUE = "overdue"
    BROKER_READY = "broker ready"
    """The broker has been replaced"""
    BROKER_FAILED = "broker failed"
    """The new broker did not start"""
    NOT_RENEWED = "not renewed"
    """A new worker did not start"""
    SETTLED = "settled"
    """No slot waits for a new worker, and no old worker takes clients"""
    MONITOR_READY = "monitor ready"
    MONITOR_FAILED = "monitor failed"
    STOP = "stop"
    """The service is stopping"""


@dataclass(frozen=True)
class News:
    """What comes with an event."""

    now: float
    wanted: Set[int]
    """The slots that are to have a worker"""
    has_monitor: bool
    reason: str = ""
    slot: int = -1
    """Whose worker did not start"""
    planned: int | None = None
    """Workers that the new plan asks for; None: as many as the old plan"""
    has_rooms: bool = False
    """Whether the new plan asks for a broker"""


@dataclass(frozen=True)
class HoldReloads:
    """Begin no reload until ReleaseReloads."""


@dataclass(frozen=True)
class ReleaseReloads:
    """Begin the reload that was asked for meanwhile."""


@dataclass(frozen=True)
class Load:
    """Start a second template."""


@dataclass(frozen=True)
class DismissTemplate:
    """End the second template, if there is one."""


@dataclass(frozen=True)
class Promote:
    """Make what the second template has loaded the current edition."""


@dataclass(frozen=True)
class RenewBroker:
    """Replace the broker by one of the current edition, or start the first one."""


@dataclass(frozen=True)
class Revert:
    """Make the previous edition the current one again, and end the second template and its broker."""


@dataclass(frozen=True)
class Settle:
    """Let the previous edition go: the second template takes the place of the first."""


@dataclass(frozen=True)
class Scale:
    """Have this many workers."""

    workers: int


@dataclass(frozen=True)
class RenewAll:
    """Replace every worker that is not of the current edition."""


@dataclass(frozen=True)
class Renew:
    """Replace the worker of one slot."""

    slot: int


@dataclass(frozen=True)
class StartMonitor:
    """Start a second monitor."""


@dataclass(frozen=True)
class DismissMonitor:
    """End the second monitor, if there is one."""


@dataclass(frozen=True)
class TakeOver:
    """Put the second monitor in the place of the first, which retires."""


@dataclass(frozen=True)
class End:
    """Report how the restart has ended: the reason why it failed, or nothing."""

    reason: str
    askers: tuple[Asker, ...]


@dataclass(frozen=True)
class Refuse:
    """Tell these only: nothing comes of what they asked for."""

    reason: str
    askers: tuple[Asker, ...]


Action: TypeAlias = (
    HoldReloads
    | ReleaseReloads
    | Load
    | DismissTemplate
    | Promote
    | RenewBroker
    | Revert
    | Settle
    | Scale
    | RenewAll
    | Renew
    | StartMonitor
    | DismissMonitor
    | TakeOver
    | End
    | Refuse
)


class Requests:
    """Restarts that were asked for and have not begun; None stands for all slots.

    A request for the whole service includes all that wait, whichever came first.
    """

    def __init__(self) -> None:
        self._waiting: dict[int | None, list[Asker]] = {}

    def add(self, slot: int | None, askers: Sequence[Asker]) -> None:
        """Note a request."""
        if slot is None:
            self._waiting = {None: self.take_askers()}
        elif None in self._waiting:
            slot = None
        self._waiting.setdefault(slot, []).extend(askers)

    def take(self) -> tuple[int | None, list[Asker]] | None:
        """Return the oldest request, None if there is none."""
        if not self._waiting:
            return None
        slot = next(iter(self._waiting))
        return slot, self._waiting.pop(slot)

    def take_askers(self) -> list[Asker]:
        """Drop all requests; return who made them."""
        waiting, self._waiting = self._waiting, {}
        return [asker for askers in waiting.values() for asker in askers]


class Restart:
    """The restart that may be under way, and those that wait for its end.

    Attributes:
        phase: How far it is.
        due: When the phase has taken too long, None if it ends by itself.
    """

    def __init__(self, timing: Timing) -> None:
        self.phase = Phase.IDLE
        self.due: float | None = None
        self._timing = timing
        self._requests = Requests()
        self._askers: list[Asker] = []
        self._slot = -1
        self._reason = ""
        """Why slots go back"""
        self._workers_before = 0
        self._planned: int | None = None

    def ask(self, slot: int | None, askers: Sequence[Asker]) -> None:
        """Note a request for all slots (None) or one; it waits for BEGIN."""
        self._requests.add(slot, askers)

    def waits_for(self, renewing: Set[int]) -> bool:
        """Whether the phase goes on until one of these slots has a new worker."""
        return self._slot in renewing if self.phase is Phase.SLOT else bool(renewing)

    def on(self, event: Event, news: News) -> list[Action]:
        """Return what follows from an event.

        Raises:
            KeyError: The event cannot happen in this phase.
        """
        return TABLE[self.phase, event](self, news)

    # Cells of the table

    def _begins(self, news: News) -> list[Action]:
        request = self._requests.take()
        if request is None:
            return []
        slot, self._askers = request
        if slot is None:
            self._enter(Phase.LOADING, news.now + self._timing.template_limit)
            return [HoldReloads(), Load()]
        self._enter(Phase.SLOT)
        self._slot = slot
        return (
            [Renew(slot)]
            if slot in news.wanted
            else self._end(f"there is no worker in slot {slot}")
        )

    def _is_refused(self, news: News) -> list[Action]:
        return self._end(news.reason)

    def _moves(self, news: News) -> list[Action]:
        self._workers_before, self._planned = len(news.wanted), news.planned
        if news.has_rooms:
            self._enter(Phase.BROKER, news.now + self._timing.broker_limit)
            return [Promote(), RenewBroker()]
        return [Promote(), *self._moves_slots(news)]

    def _moves_slots(self, news: News) -> list[Action]:
        self._enter(Phase.MOVING)
        scale = [] if self._planned is None else [Scale(self._planned)]
        return [*scale, RenewAll()]

    def _waits_too_long_for_broker(self, news: News) -> list[Action]:
        limit = self._timing.broker_limit
        return self._reverts(
            replace(news, reason=f"the new broker was not ready within {limit:g} s")
        )

    def _fails_to_load(self, news: News) -> list[Action]:
        return [DismissTemplate(), *self._fail(news.reason)]

    def _loads_too_long(self, news: News) -> list[Action]:
        limit = self._timing.template_limit
        reason = f"the new template did not load within {limit:g} s"
        return [DismissTemplate(), *self._fail(reason)]

    def _reverts(self, news: News) -> list[Action]:
        self._reason = news.reason
        self._enter(Phase.REVERTING)
        # Another number that was ordered meanwhile stays.
        scaled = self._planned not in {None, self._workers_before}
        undo = scaled and len(news.wanted) == self._planned
        scale = [Scale(self._workers_before)] if undo else []
        return [Revert(), *scale, RenewAll()]

    def _has_reverted(self, news: News) -> list[Action]:
        return self._fail(self._reason)

    def _has_moved(self, news: News) -> list[Action]:
        if not news.has_monitor:
            # The next one is started from the new template anyway.
            return [Settle(), *self._end("")]
        self._enter(Phase.MONITOR, news.now + self._timing.start_limit)
        return [Settle(), StartMonitor()]

    def _monitor_takes_over(self, news: News) -> list[Action]:
        # The old monitor passes the answer on before it retires.
        return [*self._end(""), TakeOver()]

    def _keeps_monitor(self, news: News) -> list[Action]:
        return self._end(
            f"all workers were replaced, but not the monitor; the new one: {news.reason}"
        )

    def _monitor_takes_too_long(self, news: News) -> list[Action]:
        reason = "it was not ready in time"
        return [
            DismissMonitor(),
            *self._end(f"all workers were replaced, but not the monitor; the new one: {reason}"),
        ]

    def _slot_is_done(self, news: News) -> list[Action]:
        return self._end("")

    def _slot_fails(self, news: News) -> list[Action]:
        if news.slot != self._slot:
            return []
        return self._end(f"the new worker did not start, the old one stays\n{news.reason}")

    def _stops(self, news: News) -> list[Action]:
        askers = (*self._askers, *self._requests.take_askers())
        self._askers = []
        self._enter(Phase.IDLE)
        return [DismissTemplate(), DismissMonitor(), Refuse(news.reason, askers)]

    def _nothing(self, news: News) -> list[Action]:
        return []

    # Shared steps

    def _enter(self, phase: Phase, due: float | None = None) -> None:
        self.phase, self.due = phase, due

    def _fail(self, reason: str) -> list[Action]:
        return self._end(f"{reason}\nnothing has changed: the old workers stay")

    def _end(self, reason: str) -> list[Action]:
        askers, self._askers = tuple(self._askers), []
        release = [] if self.phase is Phase.SLOT else [ReleaseReloads()]
        self._enter(Phase.IDLE)
        return [End(reason, askers), *release]


_Cell: TypeAlias = Callable[[Restart, News], list[Action]]

TABLE: dict[tuple[Phase, Event], _Cell] = {
    (Phase.IDLE, Event.BEGIN): Restart._begins,
    # A worker that is replaced for its age may fail to start at any time: no restart is concerned.
    (Phase.IDLE, Event.NOT_RENEWED): Restart._nothing,
    (Phase.IDLE, Event.STOP): Restart._stops,
    (Phase.LOADING, Event.REFUSED): Restart._is_refused,
    (Phase.LOADING, Event.LOADED): Restart._moves,
    (Phase.LOADING, Event.FAILED): Restart._fails_to_load,
    (Phase.LOADING, Event.OVERDUE): Restart._loads_too_long,
    (Phase.LOADING, Event.NOT_RENEWED): Restart._nothing,
    (Phase.LOADING, Event.STOP): Restart._stops,
    (Phase.BROKER, Event.BROKER_READY): Restart._moves_slots,
    (Phase.BROKER, Event.BROKER_FAILED): Restart._reverts,
    (Phase.BROKER, Event.FAILED): Restart._reverts,
    (Phase.BROKER, Event.OVERDUE): Restart._waits_too_long_for_broker,
    (Phase.BROKER, Event.NOT_RENEWED): Restart._nothing,
    (Phase.BROKER, Event.STOP): Restart._stops,
    (Phase.MOVING, Event.FAILED): Restart._reverts,
    (Phase.MOVING, Event.NOT_RENEWED): Restart._reverts,
    (Phase.MOVING, Event.SETTLED): Restart._has_moved,
    (Phase.MOVING, Event.STOP): Restart._stops,
    # A slot that cannot even go back stays as it is; the log says why, and its successor is of old code.
    (Phase.REVERTING, Event.NOT_RENEWED): Restart._nothing,
    (Phase.REVERTING, Event.SETTLED): Restart._has_reverted,
    (Phase.REVERTING, Event.STOP): Restart._stops,
    (Phase.MONITOR, Event.MONITOR_READY): Restart._monitor_takes_over,
    (Phase.MONITOR, Event.MONITOR_FAILED): Restart._keeps_monitor,
    (Phase.MONITOR, Event.OVERDUE): Restart._monitor_takes_too_long,
    (Phase.MONITOR, Event.NOT_RENEWED): Restart._nothing,
    (Phase.MONITOR, Event.STOP): Restart._stops,
    (Phase.SLOT, Event.NOT_RENEWED): Restart._slot_fails,
    (Phase.SLOT, Event.SETTLED): Restart._slot_is_done,
    (Phase.SLOT, Event.STOP): Restart._stops,
}

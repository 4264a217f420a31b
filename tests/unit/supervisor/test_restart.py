"""A restart: its table is complete, what it begins it ends, and no sequence of events breaks it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.supervisor.reload import Asker
from mpchat.supervisor.restart import (
    TABLE,
    Action,
    DismissMonitor,
    DismissTemplate,
    End,
    Event,
    HoldReloads,
    Load,
    News,
    Phase,
    Promote,
    Refuse,
    ReleaseReloads,
    Renew,
    RenewAll,
    RenewBroker,
    Requests,
    Restart,
    Revert,
    Scale,
    Settle,
    StartMonitor,
    TakeOver,
)
from mpchat.supervisor.timing import Timing

# The second template lives while it loads and while slots move, the second monitor in its own phase;
# slots are only looked at while some of them are to be renewed; only three phases have a time limit.
POSSIBLE_IN = {
    Event.BEGIN: {Phase.IDLE},
    Event.REFUSED: {Phase.LOADING},
    Event.LOADED: {Phase.LOADING},
    Event.FAILED: {Phase.LOADING, Phase.BROKER, Phase.MOVING},
    Event.OVERDUE: {Phase.LOADING, Phase.BROKER, Phase.MONITOR},
    Event.BROKER_READY: {Phase.BROKER},
    Event.BROKER_FAILED: {Phase.BROKER},
    Event.SETTLED: {Phase.MOVING, Phase.REVERTING, Phase.SLOT},
    Event.MONITOR_READY: {Phase.MONITOR},
    Event.MONITOR_FAILED: {Phase.MONITOR},
    Event.NOT_RENEWED: set(Phase),
    Event.STOP: set(Phase),
}
STAYS = "\nnothing has changed: the old workers stay"


def news(now: float = 0.0, workers: int = 2, *, has_monitor: bool = True, **more: Any) -> News:
    return News(now, set(range(workers)), has_monitor, **more)


def nobody(reason: str) -> None:
    raise AssertionError


def begun(slot: int | None = None) -> Restart:
    restart = Restart(Timing())
    restart.ask(slot, [nobody])
    restart.on(Event.BEGIN, news())
    return restart


def moving(planned: int | None = None, workers: int = 2) -> Restart:
    restart = begun()
    restart.on(Event.LOADED, news(workers=workers, planned=planned))
    return restart


def test_every_pair_is_decided_or_impossible() -> None:
    possible = {
        (phase, event)
        for phase, event in itertools.product(Phase, Event)
        if phase in POSSIBLE_IN[event]
    }
    assert set(TABLE) == possible


def test_an_impossible_pair_raises() -> None:
    with pytest.raises(KeyError):
        begun().on(Event.SETTLED, news())


def test_a_restart_loads_moves_and_replaces_the_monitor() -> None:
    restart = Restart(Timing())
    assert restart.on(Event.BEGIN, news()) == []
    restart.ask(None, [nobody])
    assert restart.on(Event.BEGIN, news(1.0)) == [HoldReloads(), Load()]
    assert (restart.phase, restart.due) == (Phase.LOADING, 1.0 + Timing().template_limit)
    assert restart.on(Event.LOADED, news(2.0)) == [Promote(), RenewAll()]
    assert (restart.phase, restart.due) == (Phase.MOVING, None)
    assert restart.on(Event.SETTLED, news(3.0)) == [Settle(), StartMonitor()]
    assert (restart.phase, restart.due) == (Phase.MONITOR, 3.0 + Timing().start_limit)
    # Who asked through the old monitor is answered before that retires.
    assert restart.on(Event.MONITOR_READY, news(4.0)) == [
        End("", (nobody,)),
        ReleaseReloads(),
        TakeOver(),
    ]
    assert (restart.phase, restart.due) == (Phase.IDLE, None)


def renewing_broker(planned: int | None = None) -> Restart:
    restart = begun()
    actions = restart.on(Event.LOADED, news(1.0, planned=planned, has_rooms=True))
    assert actions == [Promote(), RenewBroker()]
    assert (restart.phase, restart.due) == (Phase.BROKER, 1.0 + Timing().broker_limit)
    return restart


def test_the_broker_is_replaced_before_the_slots() -> None:
    restart = renewing_broker()
    assert restart.on(Event.BROKER_READY, news(2.0)) == [RenewAll()]
    assert (restart.phase, restart.due) == (Phase.MOVING, None)
    assert renewing_broker(planned=3).on(Event.BROKER_READY, news()) == [Scale(3), RenewAll()]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (Event.BROKER_FAILED, "it broke" + STAYS),
        (Event.FAILED, "it broke" + STAYS),
        (Event.OVERDUE, "the new broker was not ready within 40 s" + STAYS),
    ],
)
def test_a_broker_that_does_not_start_takes_all_back(event: Event, shown: str) -> None:
    restart = renewing_broker()
    assert restart.on(Event.NOT_RENEWED, news(reason="its age")) == []
    # A worker that ended meanwhile may have a successor of the new edition.
    assert restart.on(event, news(reason="it broke")) == [Revert(), RenewAll()]
    assert restart.on(Event.SETTLED, news()) == [End(shown, (nobody,)), ReleaseReloads()]


def test_without_a_monitor_it_ends_when_all_slots_have_moved() -> None:
    restart = moving()
    actions = restart.on(Event.SETTLED, news(has_monitor=False))
    assert actions == [Settle(), End("", (nobody,)), ReleaseReloads()]


@pytest.mark.parametrize(
    ("event", "reason", "shown"),
    [
        (Event.FAILED, "no such module", "no such module" + STAYS),
        (Event.OVERDUE, "", "the new template did not load within 120 s" + STAYS),
    ],
)
def test_a_template_that_does_not_load_is_dismissed(event: Event, reason: str, shown: str) -> None:
    actions = begun().on(event, news(reason=reason))
    assert actions == [DismissTemplate(), End(shown, (nobody,)), ReleaseReloads()]


def test_a_template_that_the_system_refuses_is_the_end() -> None:
    actions = begun().on(Event.REFUSED, news(reason="no memory"))
    assert actions == [End("no memory", (nobody,)), ReleaseReloads()]


@pytest.mark.parametrize("event", [Event.FAILED, Event.NOT_RENEWED])
def test_what_fails_while_slots_move_takes_them_back(event: Event) -> None:
    restart = moving()
    assert restart.on(event, news(reason="it broke")) == [Revert(), RenewAll()]
    assert restart.on(Event.NOT_RENEWED, news(reason="another")) == []
    assert restart.on(Event.SETTLED, news()) == [
        End("it broke" + STAYS, (nobody,)),
        ReleaseReloads(),
    ]


@pytest.mark.parametrize(
    ("before", "planned", "ordered", "back"),
    [
        (2, 3, 3, [Scale(2)]),
        # Somebody has ordered another number meanwhile.
        (2, 3, 5, []),
        # The plan asks for as many as there are, or for as many as before.
        (3, 3, 3, []),
        (2, None, 2, []),
        (2, None, 4, []),
    ],
)
def test_the_number_of_workers_goes_back_unless_it_was_ordered(
    before: int, planned: int | None, ordered: int, back: list[Action]
) -> None:
    restart = begun()
    there = [] if planned is None else [Scale(planned)]
    actions = restart.on(Event.LOADED, news(workers=before, planned=planned))
    assert actions == [Promote(), *there, RenewAll()]
    actions = restart.on(Event.FAILED, news(workers=ordered))
    assert actions == [Revert(), *back, RenewAll()]


def test_a_monitor_that_does_not_start_leaves_the_old_one() -> None:
    text = "all workers were replaced, but not the monitor; the new one: "
    restart = moving()
    restart.on(Event.SETTLED, news())
    assert restart.on(Event.MONITOR_FAILED, news(reason="no room")) == [
        End(text + "no room", (nobody,)),
        ReleaseReloads(),
    ]
    restart = moving()
    restart.on(Event.SETTLED, news())
    assert restart.on(Event.OVERDUE, news()) == [
        DismissMonitor(),
        End(text + "it was not ready in time", (nobody,)),
        ReleaseReloads(),
    ]


def test_one_slot_is_replaced_without_holding_reloads() -> None:
    restart = Restart(Timing())
    restart.ask(1, [nobody])
    assert restart.on(Event.BEGIN, news()) == [Renew(1)]
    assert restart.waits_for({1})
    assert not restart.waits_for({0})
    assert restart.on(Event.NOT_RENEWED, news(slot=0, reason="its age")) == []
    assert restart.on(Event.SETTLED, news()) == [End("", (nobody,))]
    restart = begun(1)
    text = "the new worker did not start, the old one stays\nit broke"
    actions = restart.on(Event.NOT_RENEWED, news(slot=1, reason="it broke"))
    assert actions == [End(text, (nobody,))]


def test_a_slot_without_a_worker_is_refused() -> None:
    restart = Restart(Timing())
    restart.ask(2, [nobody])
    actions = restart.on(Event.BEGIN, news(workers=2))
    assert actions == [End("there is no worker in slot 2", (nobody,))]
    assert restart.phase is Phase.IDLE


def test_a_stop_ends_it_and_refuses_what_waits() -> None:
    restart = moving()
    restart.ask(1, [nobody])
    assert restart.on(Event.STOP, news(reason="stopping")) == [
        DismissTemplate(),
        DismissMonitor(),
        Refuse("stopping", (nobody, nobody)),
    ]
    assert (restart.phase, restart.due) == (Phase.IDLE, None)


def test_requests_wait_in_order_and_the_whole_service_stands_for_all() -> None:
    requests = Requests()
    assert requests.take() is None

    def take() -> tuple[int | None, int]:
        request = requests.take()
        assert request is not None
        return request[0], len(request[1])

    requests.add(2, [nobody])
    requests.add(0, [nobody])
    requests.add(2, [nobody])
    assert (take(), take()) == ((2, 2), (0, 1))
    requests.add(1, [nobody])
    requests.add(None, [nobody])
    requests.add(3, [nobody])
    requests.add(None, [nobody])
    assert take() == (None, 4)
    requests.add(None, [nobody])
    requests.add(1, [nobody])
    assert len(requests.take_askers()) == 2
    assert requests.take() is None


@dataclass
class Service:
    """What actions do to a service, and whether they may."""

    workers: int = 2
    has_template: bool = False
    has_monitor: bool = False
    is_moving: bool = False
    is_held: bool = False
    told: Counter[int] = field(default_factory=Counter)

    def carry_out(self, action: Action) -> None:
        match action:
            case HoldReloads() | ReleaseReloads():
                assert self.is_held == isinstance(action, ReleaseReloads)
                self.is_held = not self.is_held
            case Load():
                assert not self.has_template
                assert self.is_held
                self.has_template = True
            case DismissTemplate():
                self.has_template = False
            case Promote():
                assert self.has_template
                assert not self.is_moving
                self.is_moving = True
            case Revert() | Settle():
                assert self.is_moving
                assert self.has_template
                self.is_moving = self.has_template = False
            case Scale():
                self.workers = action.workers
            case RenewAll() | Renew() | RenewBroker():
                assert self.is_moving or not isinstance(action, RenewBroker)
            case StartMonitor():
                assert not self.has_monitor
                self.has_monitor = True
            case DismissMonitor():
                self.has_monitor = False
            case TakeOver():
                assert self.has_monitor
                self.has_monitor = False
            case End() | Refuse():
                for asker in action.askers:
                    asker(action.reason)

    def asker(self, number: int) -> Callable[[str], None]:
        def tell(reason: str) -> None:
            self.told[number] += 1

        return tell


EVENTS = st.sampled_from([*Event, Event.BEGIN, Event.SETTLED, Event.LOADED])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(EVENTS, st.sampled_from([None, 0, 1, 7]), st.integers(0, 5), st.booleans()),
        max_size=60,
    ),
    st.booleans(),
)
def test_no_sequence_of_possible_events_breaks_it(
    steps: Sequence[tuple[Event, int | None, int, bool]], rooms: bool
) -> None:
    restart, service = Restart(Timing()), Service()
    asked = 0

    def feed(event: Event, now: float, slot: int, planned: int | None, monitor: bool) -> None:
        if event is Event.REFUSED:
            service.has_template = False
        elif event is Event.MONITOR_FAILED:
            service.has_monitor = False
        wanted = set(range(service.workers))
        about = News(now, wanted, monitor, "why", slot, planned, rooms)
        for action in restart.on(event, about):
            service.carry_out(action)
        if event is Event.STOP:
            # Both editions stay for their limits, but no slot moves and no reload begins any more.
            service.is_moving = service.is_held = False
        limited = {Phase.LOADING, Phase.BROKER, Phase.MONITOR}
        assert (restart.due is not None) == (restart.phase in limited)
        loads = {Phase.LOADING, Phase.BROKER, Phase.MOVING}
        assert service.has_template == (restart.phase in loads)
        assert service.is_moving == (restart.phase in {Phase.BROKER, Phase.MOVING})
        assert service.has_monitor == (restart.phase is Phase.MONITOR)

    for now, (event, slot, planned, monitor) in enumerate(steps):
        if event is Event.BEGIN:
            askers: list[Asker] = [service.asker(asked)]
            asked += 1
            restart.ask(slot, askers)
        if event is Event.STOP and now < len(steps) - 1:
            continue
        if (restart.phase, event) in TABLE:
            feed(event, float(now), slot or 0, planned or None, monitor)
    ways_out = {
        Phase.IDLE: Event.BEGIN,
        Phase.LOADING: Event.LOADED,
        Phase.BROKER: Event.BROKER_READY,
        Phase.MOVING: Event.SETTLED,
        Phase.REVERTING: Event.SETTLED,
        Phase.MONITOR: Event.MONITOR_READY,
        Phase.SLOT: Event.SETTLED,
    }
    for _ in range(7 * (asked + 1)):
        feed(ways_out[restart.phase], 99.0, 0, None, True)
    assert service.told == Counter(range(asked))
    assert not service.is_held

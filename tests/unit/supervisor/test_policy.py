"""The policy: its table is complete, its numbers are kept, and no sequence of events breaks it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.supervisor.policy import TABLE, Policy
from mpchat.supervisor.states import (
    Abort,
    Action,
    Announce,
    Event,
    Exit,
    Kill,
    NotRenewed,
    Retire,
    Spawn,
    State,
    StopWorker,
)
from mpchat.supervisor.timing import Timing

IMPOSSIBLE = {
    # Ready is said once; a worker with no process has nothing to be late with.
    (State.READY, Event.READY),
    (State.READY, Event.OVERDUE),
    # Nobody looks at the heartbeat of a worker before it is ready.
    (State.STARTING, Event.HUNG),
    (State.STUCK, Event.READY),
    *((State.GONE, event) for event in Event),
}


@dataclass
class Terms:
    edition: int = 1
    stop_limit: float = 11.0
    max_lifetime: float | None = None


def make(slots: int = 2, terms: Terms | None = None) -> Policy:
    return Policy(slots, Timing(), terms or Terms(), random_between=lambda low, high: 1.0)


def test_every_pair_is_decided_or_impossible() -> None:
    assert set(TABLE) | IMPOSSIBLE == set(itertools.product(State, Event))
    assert not set(TABLE) & IMPOSSIBLE


def test_an_impossible_pair_raises() -> None:
    policy = make()
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.1)
    with pytest.raises(KeyError):
        policy.on(Event.READY, 1, 0.2)


def test_announced_once_when_all_are_ready() -> None:
    policy = make()
    assert [type(action) for action in policy.start(0.0)] == [Spawn, Spawn]
    assert policy.on(Event.READY, 1, 0.1) == []
    assert policy.on(Event.READY, 2, 0.1) == [Announce()]
    assert policy.on(Event.GONE, 2, 0.2) == [Spawn(3, 1, 0)]
    assert policy.on(Event.READY, 3, 0.3) == []


def test_backoff_doubles_to_its_limit_and_is_forgiven() -> None:
    policy = make(2)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    policy.on(Event.READY, 2, 0.0)
    now, number, waits = 0.0, 2, []
    for _ in range(10):
        spawned = policy.on(Event.GONE, number, now)
        if not spawned:
            at = policy.pool[1].spawn_at
            assert at is not None
            waits.append(round(at - now, 3))
            now = at
            spawned = policy.tick(now)
        assert isinstance(spawned[0], Spawn)
        number = spawned[0].worker
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    policy.on(Event.READY, number, now)
    assert policy.on(Event.GONE, number, now + 10.1) == [Spawn(number + 1, 1, 0)]


def test_without_a_ready_worker_one_restarts_twice_a_second() -> None:
    policy = make(1)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    now, spawns, number = 0.0, [], 1
    for _ in range(12):
        actions = policy.on(Event.GONE, number, now)
        while not actions:
            due = policy.next_due()
            assert due is not None
            now = max(now, due)
            actions = policy.tick(now)
        assert isinstance(actions[0], Spawn)
        number = actions[0].worker
        spawns.append(now)
    later = [b - a for a, b in itertools.pairwise(spawns[4:])]
    assert max(later) <= 0.5 + 1e-9


def test_all_slots_failing_three_starts_is_the_end() -> None:
    policy = make(2)
    live = {action.worker for action in policy.start(0.0) if isinstance(action, Spawn)}
    now = 0.0
    ended: list[Action] = []
    while not ended:
        actions: list[Action] = []
        for number in list(live):
            live.discard(number)
            actions += policy.on(Event.GONE, number, now)
        due = policy.next_due()
        now = max(now, due if due is not None else now)
        actions += policy.tick(now)
        live |= {action.worker for action in actions if isinstance(action, Spawn)}
        ended = [action for action in actions if isinstance(action, Exit)]
    assert ended == [Exit(failed=True)]
    assert [slot.failed_starts for slot in policy.pool] == [3, 3]


def test_one_broken_slot_does_not_hold_ready_back() -> None:
    policy = make(2)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    said: list[Action] = []
    number, now = 2, 0.0
    while not said:
        actions = policy.on(Event.GONE, number, now)
        said = [action for action in actions if isinstance(action, Announce)]
        if not actions:
            due = policy.pool[1].spawn_at
            assert due is not None
            now = due
            actions = policy.tick(now)
        spawned = [action for action in actions if isinstance(action, Spawn)]
        number = spawned[0].worker if spawned else number
    assert policy.pool[1].failed_starts == 3


def test_stop_then_hurry_then_kill() -> None:
    policy = make(1)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    assert policy.stop(1.0, at_once=False) == [StopWorker(1, now=False)]
    assert policy.next_due() == 12.0
    assert policy.stop(2.0, at_once=True) == [StopWorker(1, now=True)]
    assert [type(action) for action in policy.tick(3.0)] == [Kill]
    assert policy.on(Event.GONE, 1, 3.1) == [Exit(failed=False)]


def test_a_stuck_worker_is_aborted_then_killed_and_replaced_at_once() -> None:
    policy = make(1)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    assert policy.on(Event.HUNG, 1, 20.0) == [Abort(1)]
    assert policy.ready_count() == 0
    assert policy.on(Event.HUNG, 1, 20.25) == []
    assert policy.next_due() == 20.5
    assert [type(action) for action in policy.tick(20.5)] == [Kill]
    assert policy.on(Event.GONE, 1, 20.6) == [Spawn(2, 0, 0)]


def test_a_retiring_worker_that_is_stuck_leaves_its_successor_alone() -> None:
    policy = make(1)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    policy.on(Event.RETIRING, 1, 1.0)
    policy.on(Event.READY, 2, 2.0)
    assert policy.on(Event.HUNG, 1, 3.0) == [Abort(1)]
    assert policy.on(Event.GONE, 1, 3.1) == []
    assert policy.on(Event.HUNG, 2, 4.0) == [Abort(2)]
    assert policy.stop(4.1, at_once=False) == []
    assert policy.on(Event.GONE, 2, 4.2) == [Exit(failed=False)]


def test_a_retiring_worker_has_its_successor_at_once() -> None:
    policy = make(1)
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    assert policy.on(Event.RETIRING, 1, 1.0) == [Spawn(2, 0, 1)]
    assert policy.on(Event.GONE, 1, 2.0) == []
    assert policy.pool[0].current is not None


def ready(slots: int, terms: Terms | None = None) -> Policy:
    policy = make(slots, terms)
    policy.start(0.0)
    for number in range(1, slots + 1):
        policy.on(Event.READY, number, 0.0)
    return policy


def test_scaling_down_retires_the_last_slots_and_up_takes_them_first() -> None:
    policy = ready(3)
    assert policy.scale(1, 1.0) == [Retire(2), Retire(3)]
    assert len(policy.wanted()) == 1
    assert policy.on(Event.RETIRING, 2, 1.1) == [], "its own word was on the way"
    # The retiring worker still writes one row of its slot; a second one is free.
    assert policy.scale(4, 2.0) == [Spawn(4, 1, 1), Spawn(5, 2, 1), Spawn(6, 3, 0)]
    assert policy.on(Event.GONE, 2, 3.0) == []
    assert policy.scale(4, 3.0) == []


def test_a_slot_that_is_not_wanted_is_left_alone_whatever_its_worker_does() -> None:
    policy = ready(3)
    policy.scale(4, 1.0)
    policy.on(Event.HUNG, 2, 1.0)
    actions = policy.scale(1, 1.0)
    assert [type(action) for action in actions] == [Retire, Kill]
    for number in (2, 3, 4):
        assert policy.on(Event.GONE, number, 2.0) == []
    assert policy.next_due() is None
    assert policy.on(Event.GONE, 1, 9.0) == [Spawn(5, 0, 0)]


def test_a_slot_that_is_wanted_again_waits_for_a_free_row() -> None:
    policy = ready(2)
    policy.on(Event.RETIRING, 2, 1.0)
    policy.on(Event.READY, 3, 1.1)
    policy.scale(1, 1.2)
    assert policy.scale(2, 1.3) == []
    assert policy.on(Event.GONE, 2, 1.4) == []
    assert policy.on(Event.GONE, 3, 1.5) == [Spawn(4, 1, 0)]


def test_a_slot_is_renewed_by_a_new_worker_before_the_old_one_retires() -> None:
    policy = ready(2)
    assert policy.renew(1, 1.0) == [Spawn(3, 1, 1)]
    assert policy.renewing() == {1}
    assert policy.ready_count() == 2
    assert policy.on(Event.READY, 3, 2.0) == [Retire(2)]
    assert policy.renewing() == set()
    assert policy.ready_count() == 2
    assert policy.is_leaving()
    assert policy.on(Event.RETIRING, 2, 2.1) == []
    assert not policy.is_leaving()
    # While the old one drains both rows are taken, and nothing can be renewed.
    assert policy.renew(1, 2.2) == []
    assert policy.on(Event.GONE, 2, 3.0) == [Spawn(4, 1, 0)]


def test_a_new_worker_that_does_not_start_leaves_the_old_one_alone() -> None:
    policy = ready(1)
    policy.renew(0, 1.0)
    assert policy.on(Event.GONE, 2, 2.0) == [NotRenewed(0)]
    assert policy.ready_count() == 1
    assert policy.renewing() == set()
    assert policy.next_due() is None
    policy.renew(0, 3.0)
    assert [type(action) for action in policy.tick(33.0)] == [Kill]
    assert policy.on(Event.GONE, 3, 33.1) == [NotRenewed(0)]


def test_slots_are_renewed_one_after_the_other_and_crashes_meanwhile_count() -> None:
    terms = Terms()
    policy = ready(3, terms)
    terms.edition = 2
    assert policy.renew_all(1.0) == [Spawn(4, 0, 1)]
    # The last slot's worker crashes: its successor is of the new edition anyway.
    assert policy.on(Event.GONE, 3, 1.1) == [Spawn(5, 2, 0)]
    assert policy.on(Event.READY, 4, 1.2) == [Retire(1)]
    assert policy.on(Event.READY, 5, 1.3) == [Spawn(6, 1, 1)]
    # The old one crashes before the new one is ready, which takes its place.
    assert policy.on(Event.GONE, 2, 1.4) == []
    assert policy.on(Event.READY, 6, 1.5) == []
    assert policy.renewing() == set()
    assert {worker.edition for worker in policy.workers.values() if worker.number > 3} == {2}


def test_the_way_back_replaces_what_had_moved_and_ends_what_had_not_started() -> None:
    terms = Terms()
    policy = ready(3, terms)
    terms.edition = 2
    policy.renew_all(1.0)
    policy.on(Event.READY, 4, 1.1)
    policy.on(Event.GONE, 3, 1.2)
    policy.on(Event.GONE, 1, 1.2)
    terms.edition = 1
    actions = policy.renew_all(1.3)
    # Worker 4 serves in slot 0; 5 starts beside 2 in slot 1; 6 starts in place of 3 in slot 2.
    assert [action.worker for action in actions if isinstance(action, Kill)] == [5, 6]
    assert policy.renewing() == {0, 2}
    assert policy.on(Event.GONE, 5, 1.4) == [Spawn(7, 0, 0)]
    assert policy.on(Event.GONE, 6, 1.4) == [Spawn(8, 2, 0)]
    assert policy.on(Event.READY, 8, 1.5) == []
    assert policy.on(Event.READY, 7, 1.5) == [Retire(4)]
    assert policy.renewing() == set()
    assert [slot.current.edition for slot in policy.pool if slot.current is not None] == [1, 1, 1]


def test_a_worker_that_is_to_replace_another_may_itself_be_asked_to_end() -> None:
    policy = ready(1)
    policy.renew(0, 1.0)
    assert policy.on(Event.RETIRING, 2, 1.1) == []
    assert policy.on(Event.GONE, 2, 1.2) == [Spawn(3, 0, 1)]
    assert policy.on(Event.RETIRING, 1, 1.3) == []
    assert policy.on(Event.READY, 3, 1.4) == []
    assert policy.on(Event.GONE, 1, 1.5) == []
    assert policy.ready_count() == 1


def test_scaling_down_forgets_what_was_asked_for() -> None:
    terms = Terms()
    policy = ready(2, terms)
    terms.edition = 2
    policy.renew_all(1.0)
    policy.on(Event.READY, 3, 1.1)
    actions = policy.scale(1, 1.2)
    assert [type(action) for action in actions] == [Retire, Kill]
    assert policy.renewing() == set()
    assert policy.stop(1.3, at_once=False)


def test_workers_are_replaced_for_their_age_one_after_the_other() -> None:
    policy = make(2, Terms(max_lifetime=100.0))
    policy.start(0.0)
    policy.on(Event.READY, 1, 0.0)
    policy.on(Event.READY, 2, 0.0)
    assert policy.next_due() == 100.0
    assert policy.tick(99.9) == []
    assert policy.tick(100.0) == [Spawn(3, 0, 1)]
    # It does not start: the old one stays, and the next try waits as after any failure.
    assert policy.on(Event.GONE, 3, 101.0) == [NotRenewed(0), Spawn(4, 1, 1)]
    assert policy.on(Event.READY, 4, 102.0) == [Retire(2)]
    assert policy.on(Event.GONE, 2, 103.0) == []
    assert policy.next_due() == 111.0
    assert policy.tick(111.0) == [Spawn(5, 0, 1)]
    assert policy.on(Event.READY, 5, 112.0) == [Retire(1)]
    assert policy.on(Event.GONE, 1, 113.0) == []
    assert policy.next_due() == 202.0


SERVING_MAY_FALL = {Event.RETIRING, Event.GONE, Event.HUNG}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 10)), max_size=80),
    st.integers(1, 4),
    st.sampled_from([None, 1.0, 5.0]),
)
def test_no_sequence_of_possible_events_breaks_it(
    steps: list[tuple[int, int]], slots: int, lifetime: float | None
) -> None:
    terms = Terms(max_lifetime=lifetime)
    policy = make(slots, terms)
    now = 0.0
    policy.start(now)
    ends = 0
    for choice, kind in steps:
        now += 0.3
        numbers = sorted(policy.workers)
        was_stopping = policy.stopping
        serving = policy.ready_count()
        may_fall = False
        actions = policy.tick(now)
        if kind == 0:
            actions += policy.stop(now, at_once=bool(choice % 2))
            may_fall = True
        elif kind == 1 and not was_stopping:
            actions += policy.scale(choice + 1, now)
            assert len(policy.wanted()) == choice + 1
            may_fall = True
        elif kind == 2 and not was_stopping and policy.pool[choice % len(policy.pool)].wanted:
            actions += policy.renew(choice % len(policy.pool), now)
        elif kind == 3 and not was_stopping:
            terms.edition = choice
            actions += policy.renew_all(now)
        elif numbers:
            number = numbers[choice % len(numbers)]
            events = [Event.GONE, Event.RETIRING, Event.HUNG, *[Event.READY] * 4]
            event = events[kind - 4]
            worker = policy.workers.get(number)
            if worker is not None and (worker.state, event) in TABLE:
                actions += policy.on(event, number, now)
                may_fall = event in SERVING_MAY_FALL
        ends += sum(isinstance(action, Exit) for action in actions)
        taken = [(worker.slot, worker.row) for worker in policy.workers.values()]
        assert len(set(taken)) == len(taken), "two workers would write one row"
        placed = [worker for slot in policy.pool for worker in slot.workers()]
        assert sorted(w.number for w in placed) == sorted(policy.workers), "all have a place"
        assert all(slot.incoming is None or slot.current is not None for slot in policy.pool)
        assert sum(slot.incoming is not None for slot in policy.pool) <= 1, "one slot at a time"
        assert may_fall or policy.ready_count() >= serving, "who serves was not replaced"
        if was_stopping:
            assert not any(isinstance(action, Spawn) for action in actions)
    assert ends <= 1
    assert all(worker.state is not State.GONE for worker in policy.workers.values())

"""The policy: its table is complete, its numbers are kept, and no sequence of events breaks it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.policy import TABLE, Policy
from mpchat.supervisor.states import (
    Abort,
    Action,
    Announce,
    Event,
    Exit,
    Kill,
    Retire,
    Spawn,
    State,
    StopWorker,
)

IMPOSSIBLE = {
    # Ready is said once; a worker with no process has nothing to be late with.
    (State.READY, Event.READY),
    (State.READY, Event.OVERDUE),
    # Nobody looks at the heartbeat of a worker before it is ready.
    (State.STARTING, Event.HUNG),
    (State.STUCK, Event.READY),
    *((State.GONE, event) for event in Event),
}


def make(slots: int = 2) -> Policy:
    return Policy(slots, Numbers(), stop_limit=11.0, random_between=lambda low, high: 1.0)


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


def ready(slots: int) -> Policy:
    policy = make(slots)
    policy.start(0.0)
    for number in range(1, slots + 1):
        policy.on(Event.READY, number, 0.0)
    return policy


def test_scaling_down_retires_the_last_slots_and_up_takes_them_first() -> None:
    policy = ready(3)
    assert policy.scale(1, 1.0) == [Retire(2), Retire(3)]
    assert policy.wanted_count() == 1
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


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60), st.integers(1, 4))
def test_no_sequence_of_possible_events_breaks_it(steps: list[tuple[int, int]], slots: int) -> None:
    policy = make(slots)
    now = 0.0
    policy.start(now)
    ends = 0
    for choice, kind in steps:
        now += 0.3
        numbers = sorted(policy.workers)
        was_stopping = policy.stopping
        actions = policy.tick(now)
        if kind == 5:
            actions += policy.stop(now, at_once=bool(choice % 2))
        elif kind == 7 and not was_stopping:
            actions += policy.scale(choice + 1, now)
            assert policy.wanted_count() == choice + 1
        elif numbers:
            number = numbers[choice % len(numbers)]
            event = (
                Event.READY,
                Event.RETIRING,
                Event.GONE,
                Event.GONE,
                Event.READY,
                Event.READY,
                Event.HUNG,
                Event.READY,
            )[kind]
            worker = policy.workers.get(number)
            if worker is not None and (worker.state, event) in TABLE:
                actions += policy.on(event, number, now)
        ends += sum(isinstance(action, Exit) for action in actions)
        taken = [(worker.slot, worker.row) for worker in policy.workers.values()]
        assert len(set(taken)) == len(taken), "two workers would write one row"
        if was_stopping:
            assert not any(isinstance(action, Spawn) for action in actions)
    assert ends <= 1
    assert all(worker.state is not State.GONE for worker in policy.workers.values())

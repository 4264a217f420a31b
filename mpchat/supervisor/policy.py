"""What to do when something happens to a worker: pure decisions, no system calls, no clock.

Rules. ``on(event, now)`` returns actions; ``pool`` carries them out. A worker is in one State; one table
names what each (state, event) pair means. A pair that cannot happen is not in the table and raises: there
is no default cell. Slots are defined in ``states``.

Theory of operation. Each worker has a number of its own. Spawn puts a worker in STARTING; Ready makes it
READY; Gone is the end of its process, in any state, and comes exactly once. A worker that may take too
long has a ``due`` time; ``tick`` handles Overdue for it once that has passed.

Renewing a slot starts a worker beside the current one (``incoming``). When the new worker is ready, the
current one retires; if the new worker fails, nothing has changed. One slot is renewed at a time, and only
while it has no retiring worker, since both of its rows would be taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from mpchat.supervisor.backoff import Backoff
from mpchat.supervisor.states import (
    Abort,
    Action,
    Announce,
    Event,
    Exit,
    Kill,
    NotRenewed,
    Retire,
    Slot,
    Spawn,
    State,
    StopWorker,
    Worker,
)
from mpchat.supervisor.timing import Timing


class Terms(Protocol):
    """The facts that the policy takes from the editions."""

    @property
    def edition(self) -> int:
        """Number of the edition that workers are started from."""

    @property
    def stop_limit(self) -> float:
        """Seconds that a worker has to end."""

    @property
    def max_lifetime(self) -> float | None:
        """Seconds after which a worker is replaced; None: never."""


@dataclass
class Policy:
    """The pool's state, and what follows from each event."""

    slots: int
    timing: Timing
    terms: Terms
    random_between: Callable[[float, float], float] = random.uniform
    stopping: bool = False
    announced: bool = False
    workers: dict[int, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pool = [self._slot() for _ in range(self.slots)]
        self._next_number = 1
        self._next_rescue = 0.0
        self._finished = False

    # For the pool

    def start(self, now: float) -> list[Action]:
        """Return the first workers of all slots."""
        return [self._spawn(index, now) for index in range(len(self.pool))]

    def on(self, event: Event, number: int, now: float) -> list[Action]:
        """Return what follows from an event of one worker.

        Raises:
            KeyError: The worker is unknown, or the event cannot happen in its state.
        """
        worker = self.workers[number]
        return TABLE[worker.state, event](self, worker, now) + self._conclude(now)

    def stop(self, now: float, *, at_once: bool) -> list[Action]:
        """Begin to stop, or hurry a stop that has begun."""
        self.stopping = True
        for slot in self.pool:
            slot.spawn_at = None
            slot.renew_from = 0
        event = Event.STOP_NOW if at_once else Event.STOP
        actions: list[Action] = []
        for worker in list(self.workers.values()):
            actions += TABLE[worker.state, event](self, worker, now)
        return actions + self._conclude(now)

    def scale(self, count: int, now: float) -> list[Action]:
        """Resize to ``count`` slots: the last ones retire, or are revived before new ones are added."""
        self.pool += [self._slot() for _ in range(len(self.pool), count)]
        actions: list[Action] = []
        for index, slot in enumerate(self.pool):
            slot.wanted = index < count
            if not slot.wanted:
                slot.spawn_at, slot.failed_starts, slot.renew_from = None, 0, 0
                actions += self._retire_all_of(index, now)
            elif slot.current is None and slot.spawn_at is None:
                actions.append(self._spawn(index, now))
        return actions + self._conclude(now)

    def renew(self, index: int, now: float) -> list[Action]:
        """Replace the worker of one slot; if the new one fails to start, the old one stays."""
        self._ask_for(self.pool[index], self._next_number, now)
        return self._conclude(now)

    def renew_all(self, now: float) -> list[Action]:
        """Replace every worker that is of another edition than the current one.

        A worker of another edition that has not started yet is killed; one that serves stays until its
        successor is ready.
        """
        edition = self.terms.edition
        actions: list[Action] = []
        for slot in self.pool:
            slot.renew_from = 0
            for worker in slot.workers():
                if worker.state is State.STARTING and worker.edition != edition:
                    actions += TABLE[worker.state, Event.RETIRE](self, worker, now)
            current = slot.current
            right = current is not None and current.edition == edition
            if slot.wanted and not (right and slot.current_state() is State.READY):
                starts = right and slot.current_state() is State.STARTING
                number = current.number if current is not None and starts else self._next_number
                self._ask_for(slot, number, now)
        return actions + self._conclude(now)

    def renewing(self) -> set[int]:
        """Return the slots that wait for a new worker to be ready."""
        return {index for index, slot in enumerate(self.pool) if slot.renew_from}

    def is_leaving(self) -> bool:
        """Whether a worker that was told to retire may still take clients."""
        return any(w.state is State.RETIRING and not w.has_left for w in self.workers.values())

    def tick(self, now: float) -> list[Action]:
        """Return what has come due."""
        actions: list[Action] = []
        for worker in list(self.workers.values()):
            if worker.due is not None and worker.due <= now:
                actions += TABLE[worker.state, Event.OVERDUE](self, worker, now)
        for index, slot in enumerate(self.pool):
            if slot.spawn_at is not None and slot.spawn_at <= now:
                actions.append(self._spawn(index, now))
            expires = slot.expires()
            if expires is not None and expires <= now:
                self._ask_for(slot, self._next_number, now)
        actions += self._rescue(now)
        return actions + self._conclude(now)

    def next_due(self) -> float | None:
        """Return when ``tick`` has something to do, or None."""
        times = [worker.due for worker in self.workers.values() if worker.due is not None]
        times += [slot.spawn_at for slot in self.pool if slot.spawn_at is not None]
        times += [at for slot in self.pool if (at := slot.expires()) is not None]
        if self._needs_rescue():
            times.append(self._next_rescue)
        return min(times, default=None)

    def wanted(self) -> set[int]:
        """Return the slots that have, or wait for, a worker."""
        return {index for index, slot in enumerate(self.pool) if slot.wanted}

    def ready_count(self) -> int:
        """Return how many workers serve new connections."""
        return sum(worker.state is State.READY for worker in self.workers.values())

    # Cells of the table

    def _becomes_ready(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.READY
        worker.since = now
        worker.due = None
        if (lifetime := self.terms.max_lifetime) is not None:
            # Workers that were started together do not go together.
            share = self.random_between(1 - self.timing.jitter, 1)
            worker.expires = now + lifetime * share
        slot = self.pool[worker.slot]
        slot.failed_starts = 0
        if worker.number >= slot.renew_from:
            slot.renew_from = 0
        old = slot.current
        if worker is old or old is None:
            return []
        slot.current, slot.incoming, slot.retiring = worker, None, old
        return TABLE[old.state, Event.RETIRE](self, old, now)

    def _fails_to_start(self, worker: Worker, now: float) -> list[Action]:
        slot = self.pool[worker.slot]
        failed: list[Action] = []
        if 0 < slot.renew_from <= worker.number:
            slot.renew_from = 0
            failed = [NotRenewed(worker.slot)]
            if slot.current is not None and slot.current.expires is not None:
                slot.current.expires = max(slot.current.expires, now + self.timing.max_backoff)
        if worker is slot.incoming:
            self._forget(worker)
            return failed
        slot.failed_starts += 1
        return failed + self._crashes(worker, now)

    def _crashes(self, worker: Worker, now: float) -> list[Action]:
        slot = self.pool[worker.slot]
        served = worker.state in {State.READY, State.STUCK}
        lifetime = now - worker.since if served else 0.0
        self._forget(worker)
        wait = slot.backoff.failed(lifetime)
        if slot.wanted and not self.stopping and slot.current is None:
            if wait == 0.0:
                return [self._spawn(worker.slot, now)]
            slot.spawn_at = now + wait
        return []

    def _retires(self, worker: Worker, now: float) -> list[Action]:
        slot = self.pool[worker.slot]
        worker.state = State.RETIRING
        worker.due = now + self.terms.stop_limit
        if worker is not slot.current or slot.retiring is not None:
            # It has a successor, or both rows are taken and the successor waits for this one's end.
            return []
        slot.current, slot.incoming, slot.retiring = slot.incoming, None, worker
        if slot.current is not None or not slot.wanted:
            return []
        return [self._spawn(worker.slot, now)]

    def _asks_to_retire(self, worker: Worker, now: float) -> list[Action]:
        worker.has_left = True
        return self._retires(worker, now)

    def _has_left(self, worker: Worker, now: float) -> list[Action]:
        worker.has_left = True
        return []

    def _is_retired(self, worker: Worker, now: float) -> list[Action]:
        return [Retire(worker.number), *self._retires(worker, now)]

    def _is_not_wanted(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.STOPPING
        worker.due = None
        return [Kill(worker.number, "it had not started when it was not wanted any more")]

    def _ends(self, worker: Worker, now: float) -> list[Action]:
        self._forget(worker)
        slot = self.pool[worker.slot]
        taken = slot.current is not None or slot.spawn_at is not None
        if self.stopping or taken or not slot.wanted:
            return []
        return [self._spawn(worker.slot, now)]

    def _stops(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.STOPPING
        worker.due = now + self.terms.stop_limit
        return [StopWorker(worker.number, now=False)]

    def _stops_now(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.STOPPING
        worker.due = now + self.timing.now_limit
        return [StopWorker(worker.number, now=True)]

    def _hangs(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.STUCK
        worker.due = now + self.timing.abort_limit
        return [Abort(worker.number)]

    def _dies_stuck(self, worker: Worker, now: float) -> list[Action]:
        is_current = self.pool[worker.slot].current is worker
        return self._crashes(worker, now) if is_current else self._ends(worker, now)

    def _did_not_abort(self, worker: Worker, now: float) -> list[Action]:
        worker.due = None
        return [Kill(worker.number, "it did not write its stack in time")]

    def _dies_unborn(self, worker: Worker, now: float) -> list[Action]:
        worker.state = State.STOPPING
        worker.due = None
        return [Kill(worker.number, "it had not started when the service was asked to stop")]

    def _start_too_long(self, worker: Worker, now: float) -> list[Action]:
        worker.due = None
        return [Kill(worker.number, f"it was not ready within {self.timing.start_limit:g} s")]

    def _end_too_long(self, worker: Worker, now: float) -> list[Action]:
        worker.due = None
        return [Kill(worker.number, "it did not end in time")]

    def _nothing(self, worker: Worker, now: float) -> list[Action]:
        return []

    # Shared steps

    def _slot(self) -> Slot:
        return Slot(Backoff(self.timing, self.random_between))

    def _retire_all_of(self, index: int, now: float) -> list[Action]:
        return [
            action
            for worker in self.pool[index].workers()
            for action in TABLE[worker.state, Event.RETIRE](self, worker, now)
        ]

    def _ask_for(self, slot: Slot, number: int, now: float) -> None:
        slot.renew_from = number
        if slot.spawn_at is not None:
            slot.spawn_at = now

    def _advance(self, now: float) -> list[Action]:
        """Start the next worker that was asked for, unless another one is on its way."""
        busy = any(slot.incoming is not None or slot.awaits_asked() for slot in self.pool)
        if busy or self.stopping or not self.announced:
            return []
        for index, slot in enumerate(self.pool):
            serves = slot.current_state() is State.READY
            if slot.renew_from and serves and slot.retiring is None:
                return [self._spawn(index, now)]
        return []

    def _spawn(self, index: int, now: float) -> Spawn:
        slot = self.pool[index]
        number = self._next_number
        self._next_number += 1
        due = now + self.timing.start_limit
        row = slot.free_row()
        worker = Worker(number, index, row, State.STARTING, now, now, due, self.terms.edition)
        self.workers[number] = worker
        if slot.current is None:
            slot.current = worker
        else:
            slot.incoming = worker
        slot.spawn_at = None
        slot.spawned += 1
        return Spawn(number, index, worker.row)

    def _forget(self, worker: Worker) -> None:
        slot = self.pool[worker.slot]
        if slot.current is worker:
            slot.current, slot.incoming = slot.incoming, None
        elif slot.incoming is worker:
            slot.incoming = None
        else:
            slot.retiring = None
        worker.state = State.GONE
        del self.workers[worker.number]

    def _needs_rescue(self) -> bool:
        waiting = any(slot.spawn_at is not None for slot in self.pool)
        return self.announced and waiting and self.ready_count() == 0

    def _rescue(self, now: float) -> list[Action]:
        if not self._needs_rescue() or now < self._next_rescue:
            return []
        self._next_rescue = now + self.timing.rescue_interval
        waiting = [index for index, slot in enumerate(self.pool) if slot.spawn_at is not None]
        return [self._spawn(min(waiting, key=lambda index: self.pool[index].spawn_at or 0), now)]

    def _conclude(self, now: float) -> list[Action]:
        if self._finished:
            return []
        if self.stopping:
            if self.workers:
                return []
            self._finished = True
            return [Exit(failed=False)]
        if self.announced:
            return self._advance(now)
        tries = self.timing.start_failures
        wanted = [slot for slot in self.pool if slot.wanted]
        ready = [slot.current_state() is State.READY for slot in wanted]
        given_up = [slot.failed_starts >= tries for slot in wanted]
        if all(given_up) and not any(ready):
            self._finished = True
            return [Exit(failed=True)]
        if any(ready) and all(a or b for a, b in zip(ready, given_up, strict=True)):
            self.announced = True
            return [Announce()]
        return []


_Cell: TypeAlias = Callable[[Policy, Worker, float], list[Action]]

TABLE: dict[tuple[State, Event], _Cell] = {
    (State.STARTING, Event.READY): Policy._becomes_ready,
    (State.STARTING, Event.RETIRING): Policy._asks_to_retire,
    (State.STARTING, Event.GONE): Policy._fails_to_start,
    (State.STARTING, Event.OVERDUE): Policy._start_too_long,
    (State.STARTING, Event.RETIRE): Policy._is_not_wanted,
    (State.STARTING, Event.STOP): Policy._dies_unborn,
    (State.STARTING, Event.STOP_NOW): Policy._dies_unborn,
    (State.READY, Event.RETIRING): Policy._asks_to_retire,
    (State.READY, Event.GONE): Policy._crashes,
    (State.READY, Event.HUNG): Policy._hangs,
    (State.READY, Event.RETIRE): Policy._is_retired,
    (State.READY, Event.STOP): Policy._stops,
    (State.READY, Event.STOP_NOW): Policy._stops_now,
    # A worker that retires has left its slot's current place; its successor is already starting.
    (State.RETIRING, Event.READY): Policy._nothing,
    # Its answer to Retire, or its own word that crossed Retire on the way.
    (State.RETIRING, Event.RETIRING): Policy._has_left,
    (State.RETIRING, Event.RETIRE): Policy._nothing,
    (State.RETIRING, Event.GONE): Policy._ends,
    (State.RETIRING, Event.OVERDUE): Policy._end_too_long,
    (State.RETIRING, Event.HUNG): Policy._hangs,
    (State.RETIRING, Event.STOP): Policy._stops,
    (State.RETIRING, Event.STOP_NOW): Policy._stops_now,
    # Ready and Retiring may have been on their way when the stop was decided.
    (State.STOPPING, Event.READY): Policy._nothing,
    (State.STOPPING, Event.RETIRING): Policy._nothing,
    (State.STOPPING, Event.GONE): Policy._ends,
    (State.STOPPING, Event.OVERDUE): Policy._end_too_long,
    # A stopping worker has a deadline already; a hang makes no difference.
    (State.STOPPING, Event.HUNG): Policy._nothing,
    (State.STOPPING, Event.RETIRE): Policy._nothing,
    (State.STOPPING, Event.STOP): Policy._nothing,
    (State.STOPPING, Event.STOP_NOW): Policy._stops_now,
    # A stuck worker is killed sooner than any stop would do it. HUNG repeats until it ends, and its
    # RETIRING may have been on the way.
    (State.STUCK, Event.RETIRING): Policy._nothing,
    (State.STUCK, Event.GONE): Policy._dies_stuck,
    (State.STUCK, Event.OVERDUE): Policy._did_not_abort,
    (State.STUCK, Event.HUNG): Policy._nothing,
    (State.STUCK, Event.RETIRE): Policy._nothing,
    (State.STUCK, Event.STOP): Policy._nothing,
    (State.STUCK, Event.STOP_NOW): Policy._nothing,
}

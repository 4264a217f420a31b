"""The words of the policy: states and events of a worker, actions, and what a slot is.

A slot has at most two workers, since the scoreboard has two rows for it: the current one, and one that
either retires or is to take the current one's place.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from mpchat.supervisor.backoff import Backoff


class State(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    STOPPING = "stopping"
    STUCK = "stuck"
    GONE = "gone"


class Event(enum.Enum):
    """What can happen to one worker."""

    READY = "ready"
    RETIRING = "retiring"
    GONE = "gone"
    OVERDUE = "overdue"
    HUNG = "hung"
    RETIRE = "retire"
    STOP = "stop"
    STOP_NOW = "stop now"


@dataclass(frozen=True)
class Spawn:
    """Fork a worker for this slot."""

    worker: int
    slot: int
    row: int


@dataclass(frozen=True)
class Retire:
    """Tell it to close its connections over the drain's window (1012) and end: others take over."""

    worker: int


@dataclass(frozen=True)
class StopWorker:
    """Tell it to end: in an orderly way, or at once."""

    worker: int
    now: bool


@dataclass(frozen=True)
class Abort:
    """SIGABRT: it writes its stack into its fault file and ends."""

    worker: int


@dataclass(frozen=True)
class Kill:
    """SIGKILL."""

    worker: int
    reason: str


@dataclass(frozen=True)
class NotRenewed:
    """The slot's renewal failed: the new worker did not start. No renewal is pending any more."""

    slot: int


@dataclass(frozen=True)
class Announce:
    """The service is up: the ready line, READY=1. Said once."""


@dataclass(frozen=True)
class Exit:
    """All workers are gone; ``failed`` when none could ever start."""

    failed: bool


Action: TypeAlias = Spawn | Retire | StopWorker | Abort | Kill | NotRenewed | Announce | Exit


@dataclass
class Worker:
    """One incarnation."""

    number: int
    slot: int
    row: int
    state: State
    born: float
    since: float
    """When it entered its state"""
    due: float | None
    edition: int
    """Of code and static config; see Policy.renew_all"""
    expires: float | None = None
    """When it is to be replaced for its age"""
    has_left: bool = False
    """While it retires: whether it has said that it takes no more clients"""


@dataclass
class Slot:
    """A place in the pool: at most two workers, and when the next may start."""

    backoff: Backoff
    wanted: bool = True
    """False once it was scaled away: it has no worker, and a helper keeps its socket"""
    current: Worker | None = None
    incoming: Worker | None = None
    """Starts while the current worker serves, and takes its place when it is ready"""
    retiring: Worker | None = None
    spawn_at: float | None = None
    failed_starts: int = 0
    spawned: int = 0
    renew_from: int = 0
    """Lowest number of a worker that satisfies the pending renewal; 0: none is pending"""

    def current_state(self) -> State | None:
        """Return the state of the current worker, None if there is none."""
        return self.current.state if self.current is not None else None

    def expires(self) -> float | None:
        """Return when its worker is to be replaced for its age, None if that has been decided."""
        serves = self.current is not None and self.current.state is State.READY
        return self.current.expires if self.current and serves and not self.renew_from else None

    def workers(self) -> list[Worker]:
        """Return its workers, at most two."""
        return [w for w in (self.retiring, self.current, self.incoming) if w is not None]

    def free_row(self) -> int:
        """Return the scoreboard row that no living worker writes."""
        return 1 if any(worker.row == 0 for worker in self.workers()) else 0

    def awaits_asked(self) -> bool:
        """Whether the worker that satisfies the renewal has been started, but is not ready yet."""
        current = self.current
        return self.renew_from > 0 and current is not None and current.number >= self.renew_from

"""What has been seen of a service: its last status with rates, and what the ones before add to it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpchat.cli.rates import Rates
from mpchat.cli.top.changes import changes
from mpchat.cli.top.rows import Row, broker_row, worker_rows

SECONDS = 300.0
"""Seconds that sparklines go back, and that a limit was reached lately."""
_CHANGES = 20

Samples = Sequence[tuple[float, float]]
"""Times and messages per second"""


@dataclass(frozen=True)
class Limit:
    """A limit that has been reached since the service began.

    Attributes:
        count: How often.
        lately: How often within the last SECONDS that were seen.
    """

    name: str
    count: int
    lately: int


@dataclass(frozen=True)
class Seen:
    """A service as it was at a time.

    Attributes:
        at: That time, by a clock that never goes back.
        answer: Its status, with rates in the place of counters.
        workers: Their rows, in the order of slots.
        recent: Messages per second of each slot.
        total: Messages per second of all.
        limits: Those that have been reached, the latest first.
        changes: When by the clock on the wall, and what has changed; the last one first.
    """

    at: float
    answer: dict[str, Any]
    workers: tuple[Row, ...]
    broker: Row | None
    recent: Mapping[int, Samples]
    total: Samples
    limits: tuple[Limit, ...]
    changes: tuple[tuple[str, str], ...]

    @property
    def has_broker(self) -> bool:
        """Whether there is somebody to ask for rooms."""
        return self.answer["broker"] is not None and self.answer["broker"]["state"] == "ready"

    def worker_of(self, slot: int) -> Row | None:
        """Return the worker of a slot, of two the one that is ready; None if it has none."""
        rows = [row for row in self.workers if row.slot == slot and row.pid is not None]
        return min(rows, key=lambda row: row.state != "ready", default=None)


@dataclass
class History:
    """Takes one status after the other."""

    _rates: Rates = field(default_factory=Rates)
    _before: dict[str, Any] | None = None
    _at: float = 0.0
    _recent: dict[int, deque[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _total: deque[tuple[float, float]] = field(default_factory=deque)
    _limits: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)
    _changes: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_CHANGES))

    def take(self, answer: dict[str, Any], at: float, wall: str) -> Seen:
        """Return what is known with this status; ``at`` and ``wall`` are the times as in ``Seen``."""
        before, seconds = self._before, at - self._at
        if before is not None:
            self._changes.extendleft((wall, text) for text in changes(before, answer))
            if before["pid"] != answer["pid"]:
                before = None
                self._recent.clear()
                self._total.clear()
                self._limits.clear()
        rated = self._rates.take(answer, at)
        self._before, self._at = answer, at
        workers = tuple(worker_rows(rated))
        for row in workers:
            if row.messages is not None and row.slot is not None:
                _add(self._recent[row.slot], at, row.messages)
        received, sent = rated["totals"]["messages_received"], rated["totals"]["messages_sent"]
        if received is not None:
            _add(self._total, at, received + sent)
        return Seen(
            at=at,
            answer=rated,
            workers=workers,
            broker=_broker(answer, before, seconds),
            recent={slot: tuple(samples) for slot, samples in self._recent.items()},
            total=tuple(self._total),
            limits=self._reached(answer["limits"], at),
            changes=tuple(self._changes),
        )

    def miss(self) -> None:
        """Have no rates next time, since the service has not answered."""
        self._rates.forget()

    def _reached(self, now: dict[str, int], at: float) -> tuple[Limit, ...]:
        if not self._limits or self._limits[-1][1] != now:
            self._limits.append((at, now))
        # The last one that is older says what was counted when the time began.
        while len(self._limits) > 1 and at - self._limits[1][0] > SECONDS:
            self._limits.popleft()
        then = self._limits[0][1]
        found = [Limit(name, hits, hits - then[name]) for name, hits in now.items() if hits]
        return tuple(sorted(found, key=lambda limit: limit.lately == 0))


def _add(samples: deque[tuple[float, float]], at: float, value: float) -> None:
    samples.append((at, value))
    while at - samples[0][0] > SECONDS:
        samples.popleft()


def _broker(answer: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> Row | None:
    broker = answer["broker"]
    if broker is None:
        return None
    earlier = before["broker"] if before is not None else None
    if earlier is not None and earlier["pid"] != broker["pid"]:
        earlier = None
    return broker_row(broker, earlier, seconds)

"""How long each worker's event loop has stood still, as far as that can be known.

Rules. A worker is stale while its counter stands still over checks that each came in time. A late check
(the whole tree was stopped, the machine was suspended or overloaded) proves nothing about workers: all
counts start again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOOK_SECONDS = 0.25
_LATE_SECONDS = 3 * LOOK_SECONDS


@dataclass(frozen=True)
class Beat:
    """A worker's heartbeat: the number of beats, and the time of the last one."""

    count: int
    at: float


class Heartbeats:
    """The beats of workers as last seen, and since when they have not changed.

    ``patience``: seconds of silence after which the next check must not be late.
    """

    def __init__(self, patience: float) -> None:
        self.next_look = 0.0
        self._patience = patience
        self._last_look = 0.0
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, beats: Mapping[int, Beat], now: float) -> None:
        """Note the beats of all workers that should be beating."""
        late = now - self._last_look > _LATE_SECONDS
        before, self._since = self._since, {}
        for worker, beat in beats.items():
            seen = before.get(worker)
            if late or seen is None:
                self._since[worker] = (beat.count, now)
            elif seen[0] != beat.count:
                self._since[worker] = (beat.count, min(beat.at, now))
            else:
                self._since[worker] = seen
        self._last_look = now
        stale = [since + self._patience for _count, since in self._since.values()]
        self.next_look = min((at for at in stale if at > now), default=now + LOOK_SECONDS)
        self.next_look = min(self.next_look, now + LOOK_SECONDS)

    def stale(self, worker: int) -> float:
        """Return for how many seconds a worker has been seen standing still."""
        return self._last_look - self._since[worker][1] if worker in self._since else 0.0

    def longest(self) -> float:
        """Return the longest such time of all workers."""
        return max((self.stale(worker) for worker in self._since), default=0.0)

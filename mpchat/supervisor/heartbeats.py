"""How long each worker's event loop has stood still, as far as that can be known.

Rules. A worker is stale while its counter stands still over looks that each came in time. A look that
comes late (the whole tree was stopped, the machine was suspended or overloaded) proves nothing about
workers: all counts start anew.
"""

from __future__ import annotations

from collections.abc import Mapping

LOOK_SECONDS = 0.25
_LATE_SECONDS = 3 * LOOK_SECONDS


class Heartbeats:
    """Counters of beats by worker, and since when they have not moved."""

    def __init__(self) -> None:
        self._last_look = 0.0
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, beats: Mapping[int, int], now: float) -> None:
        """Note the counters of all workers that should be beating."""
        late = now - self._last_look > _LATE_SECONDS
        before, self._since = self._since, {}
        for worker, count in beats.items():
            seen = before.get(worker)
            moved = late or seen is None or seen[0] != count
            self._since[worker] = (count, now) if moved or seen is None else seen
        self._last_look = now

    def stale(self, worker: int) -> float:
        """Return the seconds that a worker has been seen standing still."""
        return self._last_look - self._since[worker][1] if worker in self._since else 0.0

    def longest(self) -> float:
        """Return the longest of them."""
        return max((self.stale(worker) for worker in self._since), default=0.0)

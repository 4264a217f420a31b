"""How long to wait before a process that ended is started again."""

from __future__ import annotations

from collections.abc import Callable

from mpchat.supervisor.timing import Timing


class Backoff:
    """When the next incarnation may start: at once, then 0.1 s doubling to 10 s, with jitter."""

    def __init__(self, timing: Timing, random_between: Callable[[float, float], float]) -> None:
        self._timing = timing
        self._random_between = random_between
        self.failures = 0
        self._last = 0.0

    def failed(self, lifetime: float) -> float:
        """Return how many seconds to wait after an incarnation that lived this long."""
        timing = self._timing
        if lifetime > max(timing.calm, self._last):
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            self._last = 0.0
            return 0.0
        exponent = min(self.failures - 2, 30)
        wait = min(timing.first_backoff * float(2**exponent), timing.max_backoff)
        self._last = wait
        return wait * self._random_between(1 - timing.jitter, 1 + timing.jitter)

"""A child of which there is one at a time, the template or the monitor: when the next is started.

Rules. Starting anew is all there is to decide, so these two need no policy: the same backoff as for
workers, and nobody else is concerned.
"""

from __future__ import annotations

import random

from mpchat.supervisor.backoff import Backoff
from mpchat.supervisor.children import Child
from mpchat.supervisor.numbers import Numbers


class Single:
    """The present child, if there is one, and the time for its successor, if there is none."""

    def __init__(self, numbers: Numbers) -> None:
        self._backoff = Backoff(numbers, random.uniform)
        self.child: Child | None = None
        self.since = 0.0
        self.start_at: float | None = None

    def started(self, child: Child, now: float) -> None:
        """Note the new one."""
        self.child = child
        self.since = now
        self.start_at = None

    def ended(self, now: float) -> None:
        """Note its end and when to start the next."""
        self.child = None
        self.start_at = now + self._backoff.failed(now - self.since)

    def failed(self, now: float) -> int:
        """Note that the system refused one; return how many there have been in a row."""
        self.start_at = now + self._backoff.failed(0.0)
        return self._backoff.failures

    def hurry(self, latest: float) -> None:
        """Do not wait longer than that."""
        if self.start_at is not None:
            self.start_at = min(self.start_at, latest)

    def is_due(self, now: float) -> bool:
        """Whether to start one now."""
        return self.start_at is not None and self.start_at <= now

"""When a template, a monitor, a broker or a console is followed by the next one.

Rules. Starting another one is all there is to decide, so these four need no policy: the backoff is that
of workers, and nobody else is concerned.
"""

from __future__ import annotations

import random

from mpchat.supervisor.backoff import Backoff
from mpchat.supervisor.timing import Timing


class Succession:
    """The time at which the next one is to be started.

    Attributes:
        since: When the current one was started.
        start_at: When to start the next one; None while there is one.
    """

    def __init__(self, timing: Timing, start_at: float) -> None:
        self._backoff = Backoff(timing, random.uniform)
        self.since = 0.0
        self.start_at: float | None = start_at

    def started(self, now: float) -> None:
        """There is a new one."""
        self.since = now
        self.start_at = None

    def ended(self, now: float) -> None:
        """It is gone; the next one is due after the backoff."""
        self.start_at = now + self._backoff.failed(now - self.since)

    def failed(self, now: float) -> int:
        """The system refused one; return how often in a row."""
        self.start_at = now + self._backoff.failed(0.0)
        return self._backoff.failures

    def hurry(self, latest: float) -> None:
        """Wait no longer than until ``latest``."""
        if self.start_at is not None:
            self.start_at = min(self.start_at, latest)

    def is_due(self, now: float) -> bool:
        """Whether to start one now."""
        return self.start_at is not None and self.start_at <= now

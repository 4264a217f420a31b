"""When the next update is due, and of which kind; how long a retry waits.

Rules. Times are seconds of a monotonic clock. A full update stays due until one succeeds. Randomness is
passed in: ``uniform`` as random.uniform, ``below`` as random.randrange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from mpchat.config_service.options import UpdaterOptions

Kind: TypeAlias = Literal["full", "incremental"]

_LEAST_RETRY = 0.025
_MOST_DOUBLINGS = 5


def retry_wait(attempt: int, below: Callable[[int], int]) -> float:
    """Return the seconds between an attempt, counted from 1, that failed and the next one."""
    return float(_LEAST_RETRY * (1 + below(2 ** min(attempt - 1, _MOST_DOUBLINGS))))


class Schedule:
    """Decides the kind of each update, and the time between two."""

    def __init__(self, options: UpdaterOptions, uniform: Callable[[float, float], float]) -> None:
        self._options = options
        self._uniform = uniform
        self._full_at: float | None = None
        """When a full update is due; None: never again"""
        self._has_full = False

    def kind(self, now: float) -> Kind:
        """Return the kind of the update that begins now."""
        if not self._has_full or self._options.types == "only-full":
            return "full"
        return "full" if self._full_at is not None and now >= self._full_at else "incremental"

    def succeeded(self, kind: Kind, begun: float) -> None:
        """Take note of an update that began at this time."""
        if kind == "full":
            self._has_full = True
            interval = self._options.full_update_interval
            if interval is not None:
                self._full_at = begun + self._about(interval, self._options.full_jitter)

    def wait(self, *, failed: bool) -> float:
        """Return the seconds until the next update, after one that failed or succeeded."""
        interval = self._options.update_interval
        if failed and self._options.exception_interval is not None:
            interval = self._options.exception_interval
        return self._about(interval, self._options.jitter)

    def _about(self, interval: float, jitter: float) -> float:
        most = min(jitter, interval)
        return self._uniform(interval - most, interval + most)

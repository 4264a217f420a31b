"""The times at which an ending worker closes its connections: spread, as are then the clients' returns.

Rules. Each connection gets a share of the window, at most ``_MAX_SHARE``, so a few connections are closed
quickly. It is closed at a random time in its share, so that workers that end together do not close in
step, and clients do not return in step. The window leaves a part of the deadline to the last close
handshakes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_MAX_SHARE = 0.01
"""Seconds of the window for one connection."""
_OF_DEADLINE = 0.8
"""Largest fraction of the deadline that the window may use."""


def closing_times(
    count: int,
    window: float,
    deadline: float,
    random_part: Callable[[], float] = random.random,
) -> list[float]:
    """Return the seconds from now at which to close ``count`` connections, in order."""
    share = min(min(window, _OF_DEADLINE * deadline) / max(count, 1), _MAX_SHARE)
    return [(index + random_part()) * share for index in range(count)]

"""When a worker that ends closes its connections: spread, so that clients do not come back all at once.

Rules. Each connection has a share of the window, at most ``_MAX_SHARE``, so few are done at once. It
is closed somewhere in its share: workers that end together do not close in step, nor do clients return
so. The window leaves a part of the deadline to the last ones' close handshakes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_MAX_SHARE = 0.01
"""Seconds."""
_OF_DEADLINE = 0.8
"""The part of the deadline that a window may take which is longer."""


def closing_times(
    count: int,
    window: float,
    deadline: float,
    random_part: Callable[[], float] = random.random,
) -> list[float]:
    """Return the seconds from now at which to close so many connections, in order."""
    share = min(min(window, _OF_DEADLINE * deadline) / max(count, 1), _MAX_SHARE)
    return [(index + random_part()) * share for index in range(count)]

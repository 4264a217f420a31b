"""The clock of windows and ages, which nobody sets."""

from __future__ import annotations

import time


def monotonic_ms() -> int:
    """Return the monotonic clock's milliseconds."""
    return time.monotonic_ns() // 1_000_000

"""The descriptors of this process: for tests that nothing is left open."""

from __future__ import annotations

import os


def descriptors_open() -> int:
    """Return how many descriptors are open; listing them takes one more, which is counted."""
    return len(os.listdir("/proc/self/fd"))

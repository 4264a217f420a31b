"""How a worker's allocator deals with large messages.

Rules. By default glibc gives the memory of a large message back to the system as soon as it is free, and
the next one faults every page in again, which costs more than its echo. Kept here is what a few messages
of 1 MiB need, once for each worker. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_BYTES = 16 * 1024 * 1024
"""Free memory that a worker may keep for its next large messages."""


def keep_freed_memory() -> None:
    """Set the thresholds (mallopt(3)); to be called before the worker has threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        # Threads take turns at the interpreter anyway; an arena for each is memory for nothing.
        mallopt(_M_ARENA_MAX, 1)

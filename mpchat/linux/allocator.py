"""The C library's allocator, set up for large messages.

Rules. By default glibc returns the memory of a large message to the system as soon as it is free, and the
next message faults in every page again, which costs more than its echo. A worker returns no memory that
it keeps reusing. Memory that was unused for some time is returned, except enough for a few messages of 1
MiB: so the memory of a burst or an attack does not stay. Other C libraries keep their defaults.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MAX_INT = 2**31 - 1
_MMAP_THRESHOLD = 16 * 1024 * 1024
"""Bytes of a block that is mapped by itself, not taken from the heap; glibc accepts at most 32 MiB."""
_KEPT_BYTES = 16 * 1024 * 1024
"""Free bytes that a worker keeps for its next large messages."""
_CHECKS = 5
"""Consecutive checks that must find memory free before it is returned."""
_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    """glibc's data about its heap, in bytes (mallinfo(3), glibc 2.33 and later)."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO2.split())


class Allocator:
    """The C library's heap of this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._mallopt = getattr(library, "mallopt", None)
        self._can_trim = hasattr(library, "mallinfo2") and hasattr(library, "malloc_trim")
        if self._can_trim:
            self._trim, self._info = library.malloc_trim, library.mallinfo2
            self._info.restype = _Mallinfo2
        self._min_free = 0
        """Bytes that were free at each of the last ``_checks`` checks"""
        self._checks = 0
        self._returned = 0
        """Free bytes that were returned already"""

    def keep_freed_memory(self) -> None:
        """Set the thresholds (mallopt(3)); call this before the worker has threads."""
        if self._mallopt is not None:
            # If ``return_unused`` cannot trim, the library must do it itself.
            self._mallopt(_M_TRIM_THRESHOLD, _MAX_INT if self._can_trim else _KEPT_BYTES)
            self._mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
            # Only one thread at a time runs Python, so an arena for each thread would waste memory.
            self._mallopt(_M_ARENA_MAX, 1)

    def return_unused(self) -> None:
        """Return memory that was free at each of the last calls; call this about once a second."""
        if not self._can_trim:
            return
        free: int = self._info().fordblks
        # Returned memory that is used again is in memory again.
        self._returned = min(self._returned, free)
        self._min_free = min(self._min_free, free) if self._checks else free
        self._checks += 1
        if self._checks < _CHECKS:
            return
        self._checks = 0
        if self._min_free - self._returned > _KEPT_BYTES:
            self._trim(_KEPT_BYTES)
            self._returned = self._info().fordblks

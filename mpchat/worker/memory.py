"""How a worker's allocator deals with large messages.

Rules. By default glibc gives the memory of a large message back to the system as soon as it is free, and
the next one faults every page in again, which costs more than its echo. Here nothing is given back while
it is taken again and again. What was not used for a while is, but for what a few messages of 1 MiB need:
so what a burst or an attack took does not stay. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MAX_INT = 2**31 - 1
_MMAP_THRESHOLD = 16 * 1024 * 1024
"""Bytes of a block that does not come from the heap; glibc accepts no more than 32 MiB."""
_KEPT_BYTES = 16 * 1024 * 1024
"""Free memory that a worker may keep for its next large messages."""
_LOOKS = 5
"""So many looks in a row have to find memory free before it is given back."""
_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    """What glibc tells of its heap, in bytes (mallinfo(3), glibc 2.33 and later)."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO2.split())


class Allocator:
    """The C library's heap of this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._mallopt = getattr(library, "mallopt", None)
        self._can_look = hasattr(library, "mallinfo2") and hasattr(library, "malloc_trim")
        if self._can_look:
            self._trim, self._info = library.malloc_trim, library.mallinfo2
            self._info.restype = _Mallinfo2
        # Free for at least so many looks; and how much of what is free was given back already.
        self._least = 0
        self._looks = 0
        self._given_back = 0

    def keep_freed_memory(self) -> None:
        """Set the thresholds (mallopt(3)); to be called before the worker has threads."""
        if self._mallopt is not None:
            # Where nobody looks the library has to see to it itself.
            self._mallopt(_M_TRIM_THRESHOLD, _MAX_INT if self._can_look else _KEPT_BYTES)
            self._mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
            # Threads take turns at the interpreter anyway; an arena for each is memory for nothing.
            self._mallopt(_M_ARENA_MAX, 1)

    def look(self) -> None:
        """Give back what was free whenever this was called lately; to be called about once a second."""
        if not self._can_look:
            return
        free: int = self._info().fordblks
        # What is taken again of that stands in memory again.
        self._given_back = min(self._given_back, free)
        self._least = min(self._least, free) if self._looks else free
        self._looks += 1
        if self._looks < _LOOKS:
            return
        self._looks = 0
        if self._least - self._given_back > _KEPT_BYTES:
            self._trim(_KEPT_BYTES)
            self._given_back = self._info().fordblks

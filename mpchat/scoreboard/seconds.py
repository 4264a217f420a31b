"""A counter for the current second: second and count in one 64-bit item.

Rules. One item, so that a reader never sees the count of one second with the number of another. Seconds
are those of the system's clock, the same in all processes, so counts can be added up.
"""

from __future__ import annotations

_BITS = 32
_MASK = (1 << _BITS) - 1


def pack(second: int, count: int) -> int:
    """Return the item for a second and its count."""
    return second << _BITS | count & _MASK


def count_in(item: int, second: int) -> int:
    """Return the count if the item belongs to that second, else 0."""
    return item & _MASK if item >> _BITS == second else 0

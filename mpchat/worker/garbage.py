"""When a worker looks through all of its objects for garbage.

Rules. The template has set how rare that is. Workers fill equally, so all of them would come to it at the
same moment; where there are many for each core, none of their loops would turn until the last one is
done. So a worker comes to it up to twice as late, by its slot.
"""

from __future__ import annotations

import gc

_GOLDEN = 0.618_034
"""Multiples of it, less their whole part, are spread evenly, however many there are."""


def spread_collections(slot: int) -> None:
    """Set when this worker begins its full collections."""
    young, middle, full = gc.get_threshold()
    gc.set_threshold(young, middle, full_threshold(full, slot))


def full_threshold(least: int, slot: int) -> int:
    """Return the threshold of a slot's full collections, from ``least`` to twice that."""
    return round(least * (1 + slot * _GOLDEN % 1))

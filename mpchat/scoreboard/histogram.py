"""A distribution in shared memory: how many values lie in each of some fixed ranges.

Rules. One writer. Values are whole numbers, of a unit small enough for that. There is a 64-bit item for
each range, one for what lies beyond the last bound, and one for the sum. Each is stored by itself, so a
reader may see a value that is not in the sum yet. What earlier writers have counted stays.
``histogram.pyx`` has the same class for the compiled form.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST = 32
"""Bounds of a histogram at most"""


class Histogram:
    """One of one worker."""

    __slots__ = ("_bounds", "_items", "_last")

    def __init__(self, bounds: Sequence[int], items: memoryview) -> None:
        """Count in these items, ``len(bounds) + 2`` of 64 bits.

        Each bound, rising, belongs to the range that it ends.

        Raises:
            ValueError: There are too many bounds, or other than so many items.
        """
        self._last = len(bounds)
        if self._last > MOST:
            raise ValueError(f"a histogram has at most {MOST} bounds")
        if items.nbytes != 8 * (self._last + 2):
            raise ValueError(f"{self._last} bounds need {self._last + 2} items of 64 bits")
        self._bounds = tuple(bounds)
        self._items = items

    def observe(self, value: int) -> None:
        """Count a value, not below 0."""
        index = 0
        # Most values of most distributions are in the first few ranges.
        while index < self._last and value > self._bounds[index]:
            index += 1
        self._items[index] += 1
        self._items[self._last + 1] += value

    def release(self) -> None:
        """Use the memory no longer."""
        self._items = memoryview(bytearray(8 * (self._last + 2))).cast("Q")

"""The number of connections by client address or by user, over all workers: a shared table for each row.

Rules. Each table has one writer and any number of readers. A keyed 64-bit hash stands for a name, so
nobody can choose names that collide. A table is open addressing with a short window; if the window is
full, a name is not counted, which admits a client rather than refusing one by mistake.
"""

from __future__ import annotations

import hashlib

BUCKETS = 16384
WINDOW = 16
ITEMS = 2 * (BUCKETS + WINDOW)
"""64-bit items of one table: hash and count, bucket by bucket."""


def hash_name(name: bytes, key: bytes) -> int:
    """Return the hash of an address or a user, never 0."""
    digest = hashlib.blake2b(name, digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little") or 1


class HashedCounts:
    """A table of one row; only the row's worker may call ``add``."""

    def __init__(self, items: memoryview) -> None:
        self._items = items

    def add(self, hashed: int, change: int) -> None:
        """Count one connection more (1) or fewer (-1)."""
        items = self._items
        free = -1
        start = 2 * (hashed % BUCKETS)
        for index in range(start, start + 2 * WINDOW, 2):
            if items[index] == hashed:
                items[index + 1] = max(0, items[index + 1] + change)
                return
            if free < 0 and items[index + 1] == 0:
                free = index
        if free >= 0 and change > 0:
            items[free] = hashed
            items[free + 1] = change

    def count(self, hashed: int) -> int:
        """Return the number of connections in this table."""
        items = self._items
        start = 2 * (hashed % BUCKETS)
        for index in range(start, start + 2 * WINDOW, 2):
            if items[index] == hashed:
                return items[index + 1]
        return 0

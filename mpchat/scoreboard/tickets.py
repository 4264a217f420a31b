"""The tickets that were used: a fixed table in shared memory, so that any worker accepts each only once.

Rules. Whoever claims a ticket holds an fcntl lock on the table, which the kernel frees when a worker is
killed. A claim is complete with its last store: a worker that is killed before has claimed nothing. A
ticket stands in one of a few places that its number gives; if others that are not over have them all,
it is refused. Nobody waits here, since the holder of the lock may have been stopped.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import hashlib

from mpchat.linux import system

PLACES = 65536
WINDOW = 32
"""Places that one ticket may have."""
ITEMS = 2 * (PLACES + WINDOW)
"""64-bit items of the table: number and last second, place by place."""

_LOCKED = 1, 0
"""Length and place of the record that is locked: other locks are on other bytes of the same file."""
_HELD_BY_ANOTHER = {errno.EACCES, errno.EAGAIN}


class Claim(enum.Enum):
    """What came of a claim."""

    CLAIMED = enum.auto()
    USED = enum.auto()
    """The ticket was used before"""
    FULL = enum.auto()
    """Other tickets have all of its places"""
    BUSY = enum.auto()
    """Another worker holds the lock: try again"""


class UsedTickets:
    """The table; every worker may claim.

    Attributes:
        key: The service's secret for signing tickets. It lives as long as the supervisor.
    """

    def __init__(self, items: memoryview, descriptor: int, secret: bytes) -> None:
        self.key = hashlib.blake2b(key=secret, person=b"mpchat-tickets", digest_size=32).digest()
        self._items = items
        self._descriptor = descriptor

    def claim(self, number: int, until: int, now: int) -> Claim:
        """Use a ticket, which is valid until the end of second ``until`` of a clock that nobody sets.

        ``now`` is the second that has begun, at least 1.

        Raises:
            OSError: The system refuses the lock.
        """
        try:
            system.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *_LOCKED)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                return Claim.BUSY
            raise
        try:
            return self._claim(number, until, now)
        finally:
            system.lockf(self._descriptor, fcntl.LOCK_UN, *_LOCKED)

    def _claim(self, number: int, until: int, now: int) -> Claim:
        items = self._items
        start = 2 * (number % PLACES)
        free = -1
        for index in range(start, start + 2 * WINDOW, 2):
            if items[index + 1] < now:
                free = index if free < 0 else free
            elif items[index] == number:
                return Claim.USED
        if free < 0:
            return Claim.FULL
        items[free] = number
        items[free + 1] = until
        return Claim.CLAIMED

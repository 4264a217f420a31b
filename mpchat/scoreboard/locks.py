"""Locks that one worker of the service holds at a time, and that the kernel frees when it dies.

Rules. A lock is a record lock (fcntl(2)) on a byte of the scoreboard's memory file, far behind its end.
Record locks belong to a process: a worker's children have none, and every end of a worker frees them.
Within one process they do not exclude each other, so a worker makes only one lock of each name.
"""

from __future__ import annotations

import fcntl
import hashlib

from mpchat.linux import system

_FIRST = 1 << 62
"""Where the bytes of locks begin: a record lock needs no memory."""


class Locks:
    """The locks of one worker."""

    def __init__(self, descriptor: int) -> None:
        """All workers share the descriptor's file. To close one of its descriptors frees all locks."""
        self._descriptor = descriptor
        self._names: set[str] = set()

    def make(self, name: str) -> Lock:
        """Return a lock that excludes those of the same name in other workers.

        Raises:
            ValueError: This worker has made a lock of this name.
        """
        if name in self._names:
            raise ValueError(f"this worker has a lock named {name} already")
        self._names.add(name)
        digest = hashlib.blake2b(name.encode(), digest_size=7).digest()
        return Lock(self._descriptor, _FIRST + int.from_bytes(digest, "big"))


class Lock:
    """One lock."""

    def __init__(self, descriptor: int, byte: int) -> None:
        self._descriptor = descriptor
        self._byte = byte

    def take(self) -> bool:
        """Take it if no other worker holds it; return whether this one does now.

        Raises:
            OSError: The system has no record lock left (ENOLCK).
        """
        try:
            system.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Leave it to another worker."""
        system.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._byte)

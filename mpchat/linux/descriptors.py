"""Descriptors: closing them safely, keeping one in reserve, and a table that is large from the start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterable

from mpchat.linux import system

_MAX_DESCRIPTORS = 16 * 1024
"""Descriptors in the table; 128 KiB of kernel memory."""


def close(descriptor: int) -> None:
    """Close a descriptor, and ignore errors.

    close(2) frees the descriptor before it reports EIO or EINTR; closing it again could close another
    file that has taken its number.
    """
    with contextlib.suppress(OSError):
        system.close(descriptor)


def close_all(descriptors: Iterable[int]) -> None:
    """Close several descriptors."""
    for descriptor in descriptors:
        close(descriptor)


def room_for(count: int) -> bool:
    """Return whether this process can now open ``count`` more descriptors."""
    opened: list[int] = []
    try:
        opened.append(_open_null())
        while len(opened) < count:
            opened.append(system.dup(opened[0]))
    except OSError:
        return False
    finally:
        close_all(opened)
    return True


def grow_descriptor_table(descriptor: int) -> None:
    """Grow the table to the number of descriptors that this process may open, at most 16,384.

    ``descriptor`` is any open one. Call this before the process has threads.

    Linux doubles the table when it is full. In a process with threads it then waits until no core can
    still read the old table (synchronize_rcu in fs/file.c). Without this function a worker would stand
    still in ``accept`` for some ten milliseconds at its 64th client, its 128th, its 256th, and so on. A
    fork shrinks the table to the open descriptors, so the template cannot do this for all workers.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = (
        _MAX_DESCRIPTORS - 1 if soft == resource.RLIM_INFINITY else min(soft, _MAX_DESCRIPTORS) - 1
    )
    close(system.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, last))


class Spare:
    """Descriptors in reserve, closed while a message with descriptors is received.

    Raises:
        OSError: The system refuses one; none is left open.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._descriptors: list[int] = []
        try:
            self._fill()
        except OSError:
            close_all(self._descriptors)
            raise

    def is_available(self) -> bool:
        """Return whether they are open, reopening them if possible."""
        self.__exit__()
        return len(self._descriptors) == self._count

    def __enter__(self) -> None:
        close_all(self._descriptors)
        self._descriptors.clear()

    def __exit__(self, *error: object) -> None:
        # Other opens may have taken their places; the next message must do without.
        with contextlib.suppress(OSError):
            self._fill()

    def _fill(self) -> None:
        while len(self._descriptors) < self._count:
            self._descriptors.append(_open_null())


def _open_null() -> int:
    return system.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

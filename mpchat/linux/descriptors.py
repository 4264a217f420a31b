"""Descriptors: closed for good, kept in reserve, and a table for them that is large from the start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterable

from mpchat.linux import system

_MAX_DESCRIPTORS = 16 * 1024
"""Descriptors: 128 KiB of the kernel's memory."""


def close(descriptor: int) -> None:
    """Close a descriptor that is ours; it is free afterwards, whatever the system says.

    close(2) frees the descriptor before it reports EIO or EINTR, so closing it again could hit
    somebody else's.
    """
    with contextlib.suppress(OSError):
        system.close(descriptor)


def close_all(descriptors: Iterable[int]) -> None:
    """Close several descriptors."""
    for descriptor in descriptors:
        close(descriptor)


def room_for(count: int) -> bool:
    """Return whether this process can open so many more descriptors now."""
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
    """Make room for as many descriptors as this process may open, at most 16,384.

    ``descriptor`` is any open one. Call this before the process has threads.

    Linux doubles the table when it is full. In a process with threads it then waits until no core can
    be looking at the old one (synchronize_rcu in fs/file.c). The worker stands still in ``accept`` for
    some ten milliseconds at its 64th client, its 128th, its 256th, and so on. A fork shrinks the
    table to what is open, so the template cannot do this for all workers.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = (
        _MAX_DESCRIPTORS - 1 if soft == resource.RLIM_INFINITY else min(soft, _MAX_DESCRIPTORS) - 1
    )
    close(system.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, last))


class Spare:
    """A descriptor that is given up when one is needed to receive another."""

    def __init__(self) -> None:
        self._descriptor: int | None = _open_null()

    def is_there(self) -> bool:
        """Return whether it is kept, or can be again."""
        if self._descriptor is None:
            self.__exit__()
        return self._descriptor is not None

    def __enter__(self) -> None:
        if self._descriptor is not None:
            close(self._descriptor)
            self._descriptor = None

    def __exit__(self, *error: object) -> None:
        try:
            self._descriptor = _open_null()
        except OSError:
            # Somebody else took it; the next message has to do without.
            self._descriptor = None


def _open_null() -> int:
    return system.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

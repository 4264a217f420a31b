"""A worker's table of descriptors, as large from the start as most workers will need.

Rules. To be called before the process has threads.

Theory of operation. Linux doubles the table when it is full. In a process with threads it then waits
until no core can be looking at the old one (synchronize_rcu in fs/file.c): some ten milliseconds in
which the worker stands still in ``accept``, at its 64th client, its 128th, its 256th... A fork makes
the table as small as what is open allows, so the template cannot do this for all.
"""

from __future__ import annotations

import fcntl
import os
import resource

_MOST = 16 * 1024
"""Descriptors: 128 KiB of the kernel's memory."""


def grow_descriptor_table(descriptor: int) -> None:
    """Have room for as many descriptors as this process may open, or 16,384; any open one will do."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = _MOST - 1 if soft == resource.RLIM_INFINITY else min(soft, _MOST) - 1
    os.close(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, last))

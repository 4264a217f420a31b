"""Writes to a socket past its transport, while nothing waits in that, and reads from one without any.

``direct.pyx`` has the same functions for the compiled form.
"""

from __future__ import annotations

import os

_READ = 256 * 1024


def write(descriptor: int, data: bytes) -> int:
    """Return how many bytes the system has taken.

    That is 0 after an error, too: the transport will meet it again, and deal with it.
    """
    try:
        return os.write(descriptor, data)
    except OSError:
        return 0


def read(descriptor: int) -> bytes | None:
    """Return what has come, at most 256 KiB: b"" at the end or after an error, None if nothing has."""
    try:
        return os.read(descriptor, _READ)
    except BlockingIOError:
        return None
    except OSError:
        return b""

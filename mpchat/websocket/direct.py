"""Writes to a socket past its transport, while nothing waits in that.

``direct.pyx`` has the same function for the compiled form.
"""

from __future__ import annotations

import os


def write(descriptor: int, data: bytes) -> int:
    """Return how many bytes the system has taken.

    That is 0 after an error, too: the transport will meet it again, and deal with it.
    """
    try:
        return os.write(descriptor, data)
    except OSError:
        return 0

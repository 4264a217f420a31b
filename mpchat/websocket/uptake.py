"""Whether a client takes what is sent to it, however slowly.

Rules. A client that reads is never late, only one that has read nothing for the whole of a timeout. What
counts is what its kernel has acknowledged: our own buffer, and the kernel's behind it, shrink in steps
that may take a slow client longer than any timeout.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios

LOOKS = 4
"""So often within a timeout it is looked whether something was taken."""


class Uptake:
    """What one client has left to take, and since when it has taken nothing."""

    __slots__ = ("_taken_at", "_transport", "_unread")

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self._transport = transport
        self._unread = unread(transport)
        self._taken_at = now

    def wait(self, now: float, timeout: float) -> float:
        """Return the seconds until the next look; 0 if nothing was taken for ``timeout`` seconds."""
        left = unread(self._transport)
        if left < self._unread:
            self._taken_at = now
        self._unread = left
        silent = self._taken_at + timeout - now
        return min(silent, timeout / LOOKS) if silent > 0 else 0.0


def unread(transport: asyncio.Transport) -> int:
    """Return the bytes that were written to a client and that its system has not acknowledged."""
    client: socket.socket | None = transport.get_extra_info("socket")
    if client is None:
        # It has no socket of its own.
        return transport.get_write_buffer_size()
    queued = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

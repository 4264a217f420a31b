"""Whether a client takes what is sent to it, however slowly.

Rules. A client that reads is never late, only one that has read nothing for the whole of a timeout. Bytes
count as taken when the client's kernel has acknowledged them: our own buffer, and our kernel's behind it,
shrink in steps that may take a slow client longer than any timeout.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios


class Uptake:
    """How much one client has left to take, and since when it has taken nothing."""

    __slots__ = ("_looks", "_taken_at", "_unread")

    def __init__(self, unread: int, looks: int, now: float) -> None:
        self._unread = unread
        self._looks = looks
        self._taken_at = now

    def wait(self, unread: int, now: float, timeout: float) -> float:
        """Return the seconds until the next look; 0 if nothing was taken for ``timeout`` seconds."""
        if unread < self._unread:
            self._taken_at = now
        self._unread = unread
        silent = self._taken_at + timeout - now
        return min(silent, timeout / self._looks) if silent > 0 else 0.0


def unread(transport: asyncio.Transport, unsent: int) -> int:
    """Return the bytes that a client has not acknowledged, ``unsent`` of which have not left us."""
    client: socket.socket | None = transport.get_extra_info("socket")
    if client is None:
        # A transport without a socket.
        return unsent
    # Half the time of an ioctl with bytes, which tries a writable buffer first.
    queued = bytearray(4)
    fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, queued)
    return unsent + int.from_bytes(queued, sys.byteorder)

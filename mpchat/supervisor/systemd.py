"""Messages to the service manager: sd_notify(3) and its watchdog. Without a manager nothing is sent.

Rules. Sending never blocks, so a manager that does not listen costs nothing. A change of the service's
state is sent again until the manager has it, or is gone. The supervisor's loop feeds the
watchdog, so the manager notices a loop that stands still. The watchdog is not fed while a worker has been
stuck for longer than the supervisor needs to replace it.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Mapping

from mpchat.linux import system

_STATUS_SECONDS = 1.0
"""Seconds between two status lines, at least."""
_WATCHDOG_DIGITS = 19
_AGAIN = {
    errno.EAGAIN,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
}
_EXTEND_SECONDS = 1.0
_EXTEND_USEC = 5_000_000
"""Microseconds of additional time that are asked for in each _EXTEND_SECONDS of a wait or a drain."""


class ServiceManager:
    """The manager at NOTIFY_SOCKET, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._feed_every = _feed_interval(environment)
        self._feed_at = 0.0
        self._status = ""
        self._status_at = 0.0
        self._extend_at = 0.0
        self._takes_time = False
        """Whether more time is asked for"""
        self._unsent: list[str] = []
        """Changes of state that the manager has not taken yet, the newest of each kind"""
        if self._address[:1] not in {"/", "@"}:
            self._address = ""

    def waiting(self, status: str) -> None:
        """The start waits for something, which has a time limit of its own."""
        self._takes_time = True
        self._send_surely(f"STATUS={status}")

    def ready(self, status: str) -> None:
        """The service is up, or a reload has ended."""
        self._takes_time = False
        self._status = status
        self._send_surely(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload begins. Its timestamp lets systemd recognize a READY that was sent before it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._status = "reloading the dynamic config"
        self._send_surely(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS={self._status}")

    def stopping(self) -> None:
        """The service has begun to stop, and may take as long as its drain does."""
        self._takes_time = True
        self._send_surely("STOPPING=1\nSTATUS=stopping")

    def tick(self, now: float, status: str, *, healthy: bool) -> None:
        """Send what has come due; ``status`` is empty while there is nothing new to say."""
        if not self._address or not self._flush():
            return
        if self._feed_every and healthy and now >= self._feed_at:
            self._feed_at = now + self._feed_every
            self._send("WATCHDOG=1")
        if self._takes_time and now >= self._extend_at:
            self._extend_at = now + _EXTEND_SECONDS
            self._send(f"EXTEND_TIMEOUT_USEC={_EXTEND_USEC}")
        if status and status != self._status and now >= self._status_at:
            self._status_at = now + _STATUS_SECONDS
            self._status = status
            self._send(f"STATUS={status}")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            system.close_socket(self._socket)

    def _send_surely(self, text: str) -> None:
        kind, _line, _rest = text.partition("\n")
        self._unsent = [older for older in self._unsent if not older.startswith(kind)]
        self._unsent.append(text)
        self._flush()

    def _flush(self) -> bool:
        """Send what has not been taken yet; return whether nothing is left."""
        while self._unsent:
            if not self._send(self._unsent[0]):
                return False
            self._unsent.pop(0)
        return True

    def _send(self, text: str) -> bool:
        """Send; return False if it is worth another try."""
        if not self._address:
            return True
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            if self._socket is None:
                self._socket = system.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
                )
            system.sendto(self._socket, text.encode("utf-8", "backslashreplace"), address)
        except OSError as error:
            # A manager that is gone is given up: the service goes on without one.
            return error.errno not in _AGAIN
        return True


def _feed_interval(environment: Mapping[str, str]) -> float:
    """Return seconds between two feedings, a third of what the manager allows; 0: none is wanted."""
    wanted = environment.get("WATCHDOG_USEC", "")
    for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    # systemd's is a 64-bit number; a longer one is nobody's interval.
    usable = wanted.isascii() and wanted.isdigit() and len(wanted) <= _WATCHDOG_DIGITS
    return int(wanted) / 3_000_000 if usable and for_us else 0.0

"""What the service manager is told: the datagrams of sd_notify(3). Does nothing without one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """One datagram socket to NOTIFY_SOCKET; never blocks, never fails the service."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address[:1] in {"/", "@"}:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def ready(self, status: str) -> None:
        """The service is up, or a reload has ended."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload begins; systemd tells it from an older READY by the clock it carries."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading the dynamic config")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={text}")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            self._socket.sendto(text.encode(), address)
        except OSError:
            # The manager is gone or its queue is full: telling it is a courtesy, serving is the job.
            return

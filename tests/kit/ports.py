"""A port for a service that must know its port before it starts."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port that is free, and that the system gives to nobody who does not ask for it.

    One that it gives, to clients as well, would be another test's by the time that the service starts.
    """
    first_given = int(_GIVEN.read_text().split()[0])
    # Not by a seed: tests that run at the same time would choose the same.
    choice = random.SystemRandom()
    while True:
        port = choice.randrange(10_000, first_given)
        with (
            contextlib.suppress(OSError),
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True),
        ):
            return port

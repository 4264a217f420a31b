"""How many workers and client processes a number of connections takes. Pure.

RLIMIT_NOFILE decides: each connection is a descriptor in a worker and another one in a client process.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass

SLOTS = 256
"""Workers that a service may have."""
_WORKER_FILES = 128
"""Descriptors that a worker has besides its connections, and besides one for each slot."""
_CLIENT_FILES = 64
_TOLERATED = 1 / 32
"""What a worker keeps beyond its fair share, see mpchat/server/balance.py."""
_FIRST_SOURCE = ipaddress.IPv4Address("127.1.0.1")


@dataclass(frozen=True)
class Plan:
    """The processes of a row.

    Attributes:
        connections: Wanted, or as many as so many workers can hold.
        workers: Worker processes.
        clients: Client processes.
    """

    connections: int
    workers: int
    clients: int

    def shares(self, connections: int) -> list[int]:
        """Return how many of some connections each client process has."""
        each, more = divmod(connections, self.clients)
        return [each + (index < more) for index in range(self.clients)]

    def sources(self) -> list[str]:
        """Return the first source address of each client process."""
        return [str(_FIRST_SOURCE + 256 * index) for index in range(self.clients)]


def fit(files: int, workers: int) -> int:
    """Return how many connections so many workers can hold, with so many descriptors each."""
    return int((files - _WORKER_FILES - workers) / (1 + _TOLERATED)) * workers


def plan(most: int, files: int, workers: int | None = None) -> Plan:
    """Return what so many connections take, with ``workers`` or with as few as can hold them.

    Raises:
        ValueError: The limit of descriptors is too low for a single connection.
    """
    if workers is None:
        enough = (count for count in range(1, SLOTS + 1) if fit(files, count) >= most)
        workers = next(enough, SLOTS)
    connections = min(most, fit(files, workers))
    if connections < 1:
        raise ValueError(f"RLIMIT_NOFILE is {files}, which is too low")
    return Plan(connections, workers, math.ceil(connections / (files - _CLIENT_FILES)))

"""The whole: three hosts, HAProxy in front of them, and a machine for the clients."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from mpchat.testsuite.service import wait_until
from tests.chaos.sightings import Notes
from tests.cluster import crowd
from tests.cluster.host import Host
from tests.cluster.nats import STREAM, last_of, leader_of, wait_whole
from tests.cluster.proxy import Haproxy
from tests.cluster.topology import Network

_NAMES = ("one", "two", "three")
_OPENED = 60.0
"""Seconds for all clients to be connected, and to say something."""


class Cluster:
    """Use as a context manager; ``folder`` has the logs afterwards."""

    def __init__(self, folder: Path, window: float) -> None:
        """Start nothing yet; ``window``: seconds over which a host sends its clients away."""
        self.folder = folder
        # Each connection takes descriptors of clients, proxy and hosts, which inherit this limit.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.network = Network()
        machines = [self.network.add(name) for name in _NAMES]
        self._clients = self.network.add("clients")
        self._front = self.network.add("proxy")
        addresses = [machine.address for machine in machines]
        self.hosts: list[Host] = []
        for number, machine in enumerate(machines, 1):
            place = folder / machine.name
            place.mkdir()
            self.hosts.append(Host(number, machine, place, addresses, window))
        self._proxy: Haproxy | None = None
        self._met = 0
        """Clients that there have been"""

    def __enter__(self) -> Self:
        try:
            servers = [host.nats for host in self.hosts]
            for server in servers:
                server.start()
            wait_whole(servers)
            for host in self.hosts:
                host.start()
            for host in self.hosts:
                host.wait_ready()
            self._proxy = Haproxy(self._front, self.folder, [host.address for host in self.hosts])
            self.wait_whole()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def proxy(self) -> Haproxy:
        assert self._proxy is not None
        return self._proxy

    @contextlib.contextmanager
    def talking(self, clients: int, unequal: float = 0.0) -> Iterator[Notes]:
        """Have so many clients talk while the block runs, once they are connected and do talk.

        ``unequal``: see ``crowd.talking``.
        """
        first, self._met = self._met, self._met + clients
        with crowd.talking(self._clients, self._front.address, clients, first, unequal) as notes:
            self.wait_connected(clients)
            server = self.hosts[0].nats
            wanted = last_of(server, STREAM) + clients // 10
            wait_until(lambda: last_of(server, STREAM) >= wanted, "messages", _OPENED, interval=0.1)
            yield notes

    def leader(self) -> Host:
        """Return the host whose server of NATS leads the stream."""
        leader = leader_of([host.nats for host in self.hosts], STREAM)
        return next(host for host in self.hosts if host.nats is leader)

    def wait_connected(self, clients: int) -> None:
        """Wait until nearly all clients are connected; some are always on their way."""
        most = clients * 97 // 100
        wait_until(
            lambda: sum(self.proxy.connections().values()) >= most,
            f"{most} connections",
            _OPENED,
            interval=0.1,
        )

    def wait_whole(self) -> None:
        """Wait until all servers of NATS have everything, and the proxy uses all hosts."""
        wait_whole([host.nats for host in self.hosts])
        for host in self.hosts:
            self.proxy.wait_for(host.name, "UP")

    def tracebacks(self) -> list[str]:
        """Return a line for each host that has logged any: mistakes that nobody has noticed otherwise."""
        return [
            f"host {host.name} has logged a traceback"
            for host in self.hosts
            if "Traceback" in host.log()
        ]

    def close(self) -> None:
        """End everything."""
        if self._proxy is not None:
            self._proxy.close()
        for host in self.hosts:
            host.close()
        self.network.close()

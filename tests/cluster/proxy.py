"""HAProxy in front of the hosts: one address for all clients."""

from __future__ import annotations

import csv
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mpchat.testsuite.service import wait_until
from tests.cluster.topology import Machine, find_tools

PORT = 80
CHECK_TIME = 0.8
"""Seconds in which a host that does not answer is taken out: two checks, and their answers."""
_CONFIG = """
global
    maxconn 9000
    stats socket {folder}/haproxy.sock
    fd-hard-limit 20000

defaults
    mode http
    timeout connect 300ms
    # For the answer: all hosts may be slow at once, and who does not even take the connection is gone.
    timeout check 1s
    timeout client 30s
    timeout server 30s
    timeout tunnel 60s
    timeout http-request 5s

frontend chat
    bind {address}:{port} backlog 4096
    default_backend hosts

backend hosts
    balance leastconn
    option httpchk GET /ping
    default-server check inter 200ms fall 2 rise 2
    option redispatch 1
    retry-on conn-failure empty-response 503
{servers}
"""


class Haproxy:
    """The proxy; ``close`` at the end."""

    def __init__(self, machine: Machine, folder: Path, hosts: Sequence[tuple[str, str]]) -> None:
        """Start it in front of servers, each a name and ``address:port``."""
        program = find_tools("haproxy")["haproxy"]
        self.machine = machine
        self._socket = folder / "haproxy.sock"
        self._log = folder / "haproxy.log"
        servers = "\n".join(f"    server {name} {address}" for name, address in hosts)
        config = folder / "haproxy.cfg"
        config.write_text(
            _CONFIG.format(folder=folder, address=machine.address, port=PORT, servers=servers)
        )
        with self._log.open("wb") as log:
            self._process = machine.start(
                [str(program), "-db", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def status(self) -> dict[str, str]:
        """Return what it thinks of each server: ``UP`` or ``DOWN``, or on the way to it."""
        return {name: row["status"] for name, row in self._servers().items()}

    def connections(self) -> dict[str, int]:
        """Return how many connections each server has."""
        return {name: int(row["scur"]) for name, row in self._servers().items()}

    def wait_for(self, name: str, status: str) -> None:
        """Wait until it thinks so of a server."""
        wait_until(
            lambda: self._socket.exists() and self.status()[name] == status, f"{name} {status}"
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _servers(self) -> dict[str, dict[str, str]]:
        rows = csv.DictReader(self._ask("show stat").removeprefix("# ").splitlines())
        return {
            row["svname"]: row
            for row in rows
            if row["pxname"] == "hosts" and row["svname"] not in {"FRONTEND", "BACKEND"}
        }

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self._socket))
            sock.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

"""HAProxy in front of the hosts, as deploy/compose.yaml has it: one address for all clients."""

from __future__ import annotations

import csv
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mpchat.testsuite.service import wait_until
from tests.chaos.box import ROOT
from tests.cluster.topology import Machine, find_tools

PORT = 80
CHECK_TIME = 0.8
"""Seconds in which a host that does not answer is taken out: two checks, and their answers."""
_CONFIG = ROOT / "deploy" / "compose" / "haproxy.cfg"
_SERVERS = ("chat1", "chat2", "chat3")


class Haproxy:
    """The proxy; ``close`` at the end."""

    def __init__(self, machine: Machine, folder: Path, hosts: Sequence[tuple[str, str]]) -> None:
        """Start it in front of servers, each a name and ``address:port``."""
        program = find_tools("haproxy")["haproxy"]
        self.machine = machine
        self._socket = folder / "haproxy.sock"
        self._log = folder / "haproxy.log"
        changes = {
            "\nglobal\n": f"\nglobal\n    stats socket {self._socket}\n",
            "bind :8080": f"bind {machine.address}:{PORT}",
        }
        for server, (name, address) in zip(_SERVERS, hosts, strict=True):
            changes[f"server {server} {server}:8080"] = f"server {name} {address}"
        text = _CONFIG.read_text()
        for old, new in changes.items():
            assert old in text, f"{_CONFIG} has no {old!r} any more"
            text = text.replace(old, new)
        config = folder / "haproxy.cfg"
        config.write_text(text)
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
            if row["pxname"] == "chats" and row["svname"] not in {"FRONTEND", "BACKEND"}
        }

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self._socket))
            sock.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

"""Three servers of NATS, one on each host, that keep the stream of rooms together."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import wait_until
from tests.cluster.topology import Machine
from tests.kit.nats import BINARY, PASSWORD, STREAM, USER, users

__all__ = ["CLIENTS_PORT", "PASSWORD", "STREAM", "USER", "NatsServer", "leader_of", "wait_whole"]

CLIENTS_PORT = 4222
_ROUTES_PORT = 6222
_MONITORING_PORT = 8222
_DEADLINE = 30.0
"""Seconds for a cluster to come together on a busy machine."""


class NatsServer:
    """The server of one host; it keeps its store over a restart."""

    def __init__(self, machine: Machine, folder: Path, addresses: Sequence[str]) -> None:
        """Write its configuration; ``addresses`` are those of all servers."""
        self.machine = machine
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        routes = ", ".join(f'"nats://{address}:{_ROUTES_PORT}"' for address in addresses)
        (folder / "nats.conf").write_text(f"""server_name: {machine.name}
listen: {machine.address}:{CLIENTS_PORT}
http: {machine.address}:{_MONITORING_PORT}
log_file: "{folder / "nats.log"}"
jetstream {{ store_dir: "{folder / "nats"}", max_mem: 64MB, max_file: 1GB }}
cluster {{
    name: rooms, listen: {machine.address}:{_ROUTES_PORT}, routes: [{routes}]
    # By default a server that is cut off is asked for messages, in vain, for a minute.
    ping_interval: "1s", ping_max: 2
}}
{users()}""")

    def start(self) -> None:
        """Start it; see ``wait_whole``."""
        command = [str(BINARY), "-c", str(self._folder / "nats.conf")]
        with (self._folder / "nats.out").open("ab") as out:
            self._process = self.machine.start(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, path: str) -> Any:
        """Return what its monitoring answers."""
        url = f"http://{self.machine.address}:{_MONITORING_PORT}{path}"

        def ask() -> Any:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)

        return self.machine.call(ask)

    def streams(self) -> dict[str, Any]:
        """Return what it tells of its streams by name, nothing before it knows them."""
        accounts = self.ask("/jsz?streams=1&accounts=1").get("account_details", [])
        return {
            stream["name"]: stream
            for account in accounts
            for stream in account.get("stream_detail", [])
        }

    def is_ready(self) -> bool:
        """Whether it serves, knows the others' leader, and has all that it has to keep."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "nats.log").read_text()
        with contextlib.suppress(OSError):
            return bool(
                self.ask("/healthz")["status"] == "ok"
                and self.ask("/jsz")["meta_cluster"].get("leader")
            )
        return False


def wait_whole(servers: Sequence[NatsServer]) -> None:
    """Wait until all servers have come together, and have the same."""
    wait_until(
        lambda: all(server.is_ready() for server in servers),
        "whole cluster of NATS",
        _DEADLINE,
        # Each failure is a line of its log.
        interval=0.2,
    )


def leader_of(servers: Sequence[NatsServer], stream: str) -> NatsServer:
    """Return the server that leads a stream, as the first one knows it."""

    def ask() -> str | None:
        found: str | None = servers[0].streams().get(stream, {}).get("cluster", {}).get("leader")
        return found

    name = wait_until(ask, f"leader of {stream}")
    return next(server for server in servers if server.machine.name == name)


def last_of(server: NatsServer, stream: str) -> int:
    """Return the sequence of a stream's newest message."""
    return int(server.streams()[stream]["state"]["last_seq"])

"""Real servers of NATS on loopback, one or a cluster, that can be killed, stopped and started again.

Rules. A server keeps its port and its store over a restart. Its user has no more permissions than a host
needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import wait_until
from tests.kit.ports import free_port

BINARY = Path(sys.executable).parent / "nats-server"
USER, PASSWORD = "host", "a-password-for-tests"
ADMIN, ADMIN_PASSWORD = "admin", "another-password-for-tests"
STREAM = "ROOMS"
_DEADLINE = 20.0
"""Seconds for a server, or a cluster, to be ready on a busy machine."""


def permissions(stream: str = STREAM, *, may_create: bool = True, domain: str = "") -> str:
    """Return the least permissions of a host."""
    name = stream.lower()
    # A server of the domain itself looks for the second.
    apis = [f"$JS.{domain}.API", "$JS.API"] if domain else ["$JS.API"]
    requests = ["STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET"]
    requests += ["STREAM.CREATE"] if may_create else []
    publish = [
        f"{name}.*",
        *(f"{api}.{request}.{stream}" for api in apis for request in requests),
        f"mpchat.ctl.{stream}.>",
    ]
    subscribe = [f"live.{name}.*", "_INBOX_mpchat.>", f"mpchat.ctl.{stream}.>"]
    return f"{{ publish: {json.dumps(publish)}, subscribe: {json.dumps(subscribe)} }}"


def users(allowed: str | None = None) -> str:
    """Return the part of a config with a host and an administrator."""
    return f"""accounts {{
    ROOMS {{
        jetstream: enabled
        users: [
            {{user: {USER}, password: "{PASSWORD}", permissions: {allowed or permissions()}}}
            {{user: {ADMIN}, password: "{ADMIN_PASSWORD}"}}
        ]
    }}
    SYS {{ users: [{{user: sys, password: sys}}] }}
}}
system_account: SYS
"""


class NatsServer:
    """One server; ``start`` before use, ``close`` at the end."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "n1",
        more: str = "",
        login: str | None = None,
        jetstream: str = "",
        scheme: str = "nats",
    ) -> None:
        self.name = name
        self.port = free_port()
        self.monitoring = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self.config = self._folder / "nats.conf"
        self._log = self._folder / "log"
        self.text = f"""server_name: {name}
listen: 127.0.0.1:{self.port}
http: 127.0.0.1:{self.monitoring}
log_file: "{self._log}"
jetstream {{ store_dir: "{self._folder / "store"}", max_mem: 8GB, max_file: 8GB {jetstream} }}
{users() if login is None else login}
{more}
"""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> NatsServer:
        """Start it and wait until clients can come."""
        self.begin()
        wait_until(self.is_ready, f"{self.name} serves; {self._log}", _DEADLINE)
        return self

    def begin(self) -> None:
        """Start it."""
        self.config.write_text(self.text)
        self._process = subprocess.Popen(
            [BINARY, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_ready(self) -> bool:
        """Whether it serves, JetStream included."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError):
            return bool(self.ask("/healthz")["status"] == "ok")
        return False

    def ask(self, path: str) -> Any:
        """Return what its monitoring answers."""
        url = f"http://127.0.0.1:{self.monitoring}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it (SIGKILL), also while it is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Have it stand still; its sockets stay open."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self.kill()


class NatsCluster:
    """Servers that know each other."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        routes = [free_port() for _ in range(size)]
        urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = [
            NatsServer(
                folder,
                name=f"n{number}",
                more=f"cluster {{ name: C, listen: 127.0.0.1:{port}, routes: [{urls}] }}",
            )
            for number, port in enumerate(routes, 1)
        ]

    @property
    def urls(self) -> list[str]:
        """The addresses of all servers."""
        return [server.url for server in self.servers]

    def start(self) -> NatsCluster:
        """Start all, and wait until they have a leader."""
        for server in self.servers:
            server.begin()
        wait_until(self._is_ready, "the cluster of NATS has a leader", _DEADLINE)
        return self

    def _is_ready(self) -> bool:
        if not all(server.is_ready() for server in self.servers):
            return False
        found = [server.ask("/jsz")["meta_cluster"] for server in self.servers]
        return all(cluster.get("leader") for cluster in found)

    def named(self, name: str) -> NatsServer:
        """Return the server with this name."""
        return next(server for server in self.servers if server.name == name)

    def close(self) -> None:
        """End all."""
        for server in self.servers:
            server.close()


def close_all(servers: Sequence[NatsServer | NatsCluster]) -> None:
    """End servers."""
    for server in servers:
        server.close()


def is_there() -> bool:
    """Whether there is a server's binary."""
    return os.access(BINARY, os.X_OK)

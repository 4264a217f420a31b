"""One host of the cluster: mpchat, and a server of NATS beside it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mpchat.testsuite.service import Service
from tests.chaos.box import ROOT
from tests.cluster.nats import CLIENTS_PORT, PASSWORD, STREAM, USER, NatsServer
from tests.cluster.topology import Machine, mortal

PORT = 8080
_HEARTBEAT = "4s"
"""Of silence, after which a member hears from its host."""
_WORKERS = 1
"""Each sends away a hundred clients a second, who come back to others on the same machine."""
_LAMEDUCK = 1000
"""Milliseconds in which the proxy sees that the host is about to stop: two checks take 400."""
_APP = Path(__file__).parent / "served" / "hosted_rooms.py"


class Host:
    """A host from its start to its end; ``number`` is 1, 2, 3."""

    def __init__(
        self, number: int, machine: Machine, folder: Path, addresses: Sequence[str], window: float
    ) -> None:
        """Start nothing yet.

        Args:
            number: Its own.
            machine: Where it runs.
            folder: For its files.
            addresses: Of all hosts.
            window: Seconds over which its clients are sent away.
        """
        self.number = number
        self.machine = machine
        self.code = 0
        self.nats = NatsServer(machine, folder, addresses)
        self._folder = folder
        self._service: Service | None = None
        self._logs: list[str] = []
        self._app = folder / "app.py"
        drain = {
            "lameduck_ms": _LAMEDUCK,
            "window_ms": int(window * 1000),
            "deadline_ms": int(window * 1000) + 5000,
        }
        config = {"USERVER_LOG_REQUEST": False, "MPCHAT_DRAIN": drain}
        (folder / "dynamic.json").write_text(json.dumps(config))
        self._config = folder / "static_config.yaml"
        self._config.write_text(yaml.safe_dump(_config(folder, machine.address, addresses)))

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def address(self) -> tuple[str, str]:
        """What the proxy knows it by."""
        return self.name, f"{self.machine.address}:{PORT}"

    @property
    def mark(self) -> int:
        """What its clients note of it."""
        return self.number * 100 + self.code

    def start(self) -> None:
        """Start mpchat with its next code; see ``wait_ready``."""
        self.code += 1
        text = _APP.read_text()
        assert "\nCODE = 1\n" in text
        self._app.write_text(text.replace("\nCODE = 1\n", f"\nCODE = {self.code}\n"))
        command = [sys.executable, "-m", "mpchat", "serve", "--app", "app:components"]
        command = mortal([*command, "-c", str(self._config)])
        environment = {"CLUSTER_HOST": str(self.number), "PYTHONPATH": str(ROOT)}
        self._service = self.machine.call(lambda: Service(command, self._folder, environment))

    def wait_ready(self) -> None:
        """Wait until it serves."""
        assert self._service is not None
        self._service.wait_ready()

    def stop(self) -> int:
        """Drain it, and return its exit code when it has ended."""
        assert self._service is not None
        code = self._service.stop()
        self._logs.append(self._service.stderr())
        self._service.close()
        self._service = None
        return code

    def log(self) -> str:
        """Return what all its services have logged."""
        now = self._service.stderr() if self._service is not None else ""
        return "".join((*self._logs, now))

    def close(self) -> None:
        """End it now."""
        if self._service is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._service.stop(signal.SIGQUIT)
            self._service.close()
        self.nats.kill()


def _config(folder: Path, ours: str, addresses: Sequence[str]) -> dict[str, Any]:
    server = {
        "control-socket": str(folder / "control.sock"),
        "listener": {"port": PORT, "task_processor": "main", "backlog": 4096},
    }
    # Servers are tried in their order: the nearest one comes first.
    ordered = sorted(addresses, key=lambda address: address != ours)
    nats = {
        "servers": [f"nats://{address}:{CLIENTS_PORT}" for address in ordered],
        "user": USER,
        "password": PASSWORD,
        "stream": STREAM,
        "replicas": len(addresses),
    }
    history = {"history-size": 1_000_000, "history-bytes": 64 * 1024 * 1024}
    members = {
        "path": "/rooms/{room}",
        "heartbeat": _HEARTBEAT,
        # A host that was cut off lets its clients go as they let it go.
        "ping-interval": "4s",
        "ping-timeout": "4s",
    }
    return {
        "components_manager": {
            "task_processors": {
                "main": {"worker_threads": _WORKERS},
                "fs-task-processor": {"worker_threads": 1},
            },
            "default_task_processor": "main",
            "components": {
                "server": server,
                "logging": {
                    "fs-task-processor": "fs-task-processor",
                    "loggers": {"default": {"file_path": "@stderr", "level": "info"}},
                },
                "dynamic-config-fallbacks": {"fallback-path": "dynamic.json"},
                "rooms": {"engine": "nats", "nats": nats, **history},
                "room-handler": {"task_processor": "main", **members},
                "handler-ping": {"task_processor": "main", "path": "/ping"},
            },
        }
    }

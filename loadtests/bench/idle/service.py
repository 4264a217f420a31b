"""mpchat as it runs here: its config, its start, its restart and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from .. import processes
from ..load import LoadFailed
from ..running import MPCHAT_CONFIG
from .plan import Plan

CLOSES_PER_SECOND = 2_500
"""Closes that two cores can spread over the drain's window while the clients come back."""
_LEAST_WINDOW = 5.0
_READY_SECONDS = 120.0
_ENDED_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def drain_seconds(connections: int) -> tuple[float, float]:
    """Return the window and the deadline of a drain of so many connections."""
    window = max(_LEAST_WINDOW, connections / CLOSES_PER_SECOND)
    return window, 2 * window


def config_of(plan: Plan, port: int, ping_interval: float) -> dict[str, Any]:
    """Return the static config: that of the other benchmark, for so many connections."""
    text = MPCHAT_CONFIG.format(port=port, workers=plan.workers)
    config: dict[str, Any] = yaml.safe_load(text)
    components = config["components_manager"]["components"]
    server = components["server"]
    server["listener"] |= {"backlog": 4096, "max_connections": 2 * plan.connections}
    server["control-socket"] = "control.sock"
    components["dynamic-config-fallbacks"] = {"fallback-path": "dynamic_config.json"}
    components["websocket-handler"]["ping-interval"] = f"{round(1000 * ping_interval)}ms"
    return config


class Service:
    """A running service.

    Attributes:
        port: Where clients connect.
        deadline: Seconds that a drain may take.
    """

    def __init__(self, folder: Path, plan: Plan, ping_interval: float) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        config = config_of(plan, self.port, ping_interval)
        (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
        window, self.deadline = drain_seconds(plan.connections)
        drain = {"window_ms": int(window * 1000), "deadline_ms": int(self.deadline * 1000)}
        (folder / "dynamic_config.json").write_text(json.dumps({"MPCHAT_DRAIN": drain}))
        self.log = folder / "log"
        with self.log.open("wb") as output:
            # In a process group of its own: Ctrl-C is for us, and we stop it.
            self._process = subprocess.Popen(
                self._command("serve"),
                cwd=folder,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    @property
    def pids(self) -> list[int]:
        """All its processes.

        Raises:
            LoadFailed: It has ended.
        """
        while self._process.poll() is None:
            # One of them may end while its children are read.
            with suppress(FileNotFoundError, ProcessLookupError):
                return processes.tree(self._process.pid)
        raise LoadFailed(f"mpchat has ended:\n{self.log.read_text()}")

    def wait_ready(self) -> None:
        """Wait until the last worker is ready.

        Raises:
            LoadFailed: It has ended, or takes too long.
        """
        end = time.monotonic() + _READY_SECONDS
        while ": ws://" not in self.log.read_text():
            if self._process.poll() is not None or time.monotonic() > end:
                raise LoadFailed(f"mpchat did not start:\n{self.log.read_text()}")
            time.sleep(_LOOK_SECONDS)

    def restart(self) -> subprocess.Popen[bytes]:
        """Begin a rolling restart; the verb ends when it is done."""
        return subprocess.Popen(self._command("restart"), cwd=self._folder, process_group=0)

    def stop(self) -> int:
        """Drain it; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(self.deadline + _ENDED_SECONDS)

    def end(self) -> None:
        """Whatever happened: leave no process of it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(_ENDED_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def warnings(self) -> list[str]:
        """Return the texts, without stacks, of what it has logged beside how it started."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [
            line.rpartition("\ttext=")[2].partition("\\n")[0]
            for line in lines
            if ": ws://" not in line and "runs as root" not in line
        ]

    @staticmethod
    def _command(verb: str) -> list[str]:
        return [sys.executable, "-m", "mpchat", verb, "-c", "static_config.yaml"]


@contextmanager
def running(folder: Path, plan: Plan, ping_interval: float) -> Iterator[Service]:
    """Run a service, ready, until the end of the ``with`` block."""
    service = Service(folder, plan, ping_interval)
    try:
        service.wait_ready()
        yield service
    finally:
        service.end()

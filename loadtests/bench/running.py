"""Servers that run: started with their config, asked about their processes, stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .servers import CERTIFICATE, KEY, Server, Setting

DEADLINE = 30.0
READY = re.compile(": wss?://")

MPCHAT_CONFIG = """\
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: {workers}
        fs-task-processor:
            worker_threads: 4
    default_task_processor: main-task-processor
    components:
        server:
            listener:
                address: 127.0.0.1
                port: {port}
        logging:
            fs-task-processor: fs-task-processor
            loggers:
                default:
                    file_path: '@stderr'
                    level: warning
        websocket-handler:
            path: /chat
"""
TLS = f"""\
                tls:
                    cert: {CERTIFICATE}
                    private-key: {KEY}
"""
LARGE_MESSAGES = """\
            max-remote-payload: 2097152
            fragment-size: 2097152
"""
DEFLATE = """\
            permessage-deflate: true
"""
ROOMS = """\
        rooms: {}
        room-handler:
            path: /rooms/{room}
"""
JOINING = """\
        rooms: {}
        joining-handler:
            path: /joining/{where}
"""
BURNING = """\
        handler-burning:
            path: /burning
            method: GET
"""


class Running:
    """A server that is ready."""

    def __init__(
        self, server: Server, pid: int, port: int, seconds: float, folder: Path, python: str
    ) -> None:
        self.server = server
        self.port = port
        self.ready_seconds = seconds
        self._pid = pid
        self._folder = folder
        self._python = python

    def cpu_ns(self) -> int:
        """Return the CPU time that all its processes have used."""
        return processes.cpu_ns(processes.tree(self._pid))

    def cpu_ns_of(self, pid: int) -> int:
        """Return the CPU time that one of its processes has used."""
        return processes.cpu_ns([pid])

    def clients(self) -> dict[int, int]:
        """Return how many clients each of its processes has, by process id."""
        return processes.clients(processes.tree(self._pid), self.port)

    def scale(self, workers: int) -> None:
        """Have so many workers from now on; mpchat only."""
        command = [self._python, "-m", "mpchat", "scale", str(workers), "-c", "static_config.yaml"]
        subprocess.run(command, cwd=self._folder, check=True, stdout=subprocess.DEVNULL)

    def pss_kib(self) -> int:
        """Return the memory of all its processes."""
        return processes.pss_kib(processes.tree(self._pid))


@dataclass(frozen=True)
class Place:
    """Where servers run: the interpreter of those in Python, and the CPUs, as taskset takes them."""

    python: str
    cores: str


@contextmanager
def running(
    server: Server,
    folder: Path,
    place: Place,
    *,
    setting: Setting = "plain",
    large: bool = False,
    workers: int = 1,
    further: str = "",
) -> Iterator[Running]:
    """Run a server until the end of the ``with`` block.

    Args:
        server: Which.
        folder: For its config and its log: empty, but for a certificate and its key where there is TLS.
        place: Where.
        setting: How.
        large: Whether messages exceed mpchat's default limits.
        workers: The worker processes of mpchat, and of others in a room over two workers.
        further: More of mpchat's components.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = MPCHAT_CONFIG.format(port=port, workers=workers)
    if setting == "tls":
        of_port = f"port: {port}\n"
        config = config.replace(of_port, of_port + TLS)
    config += (LARGE_MESSAGES if large else "") + (DEFLATE if setting == "deflate" else "")
    of_setting = {"rooms": ROOMS, "spread": ROOMS, "joining": JOINING, "storm": BURNING}
    config += of_setting.get(setting, "") + further
    (folder / "static_config.yaml").write_text(config)
    log = folder / "log"
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "taskset",
                "-c",
                place.cores,
                *server.command_line(place.python, port, setting, workers),
            ],
            cwd=folder,
            env={**os.environ, **server.environment(setting)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_ready(_ready_line(log) if server.mpchat else _open_port(port), process, log)
        seconds = time.monotonic() - begun
        yield Running(server, process.pid, port, seconds, folder, place.python)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{process.args!r} did not start:\n{log.read_text()}")
        time.sleep(0.001)


def _ready_line(log: Path) -> Callable[[], bool]:
    return lambda: READY.search(log.read_text()) is not None


def _open_port(port: int) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return listens

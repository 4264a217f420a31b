"""The servers: what they are called, and their command lines, as their authors give them.

Rules. One worker process each. Shipped defaults, except what is said here: uvloop, no compression (the
client does not offer it either), no access log, log level warning; and for messages beyond 64 KiB two
limits of mpchat are raised.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import processes

PEERS = Path(__file__).with_name("peers")
DEADLINE = 30.0

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
LARGE_MESSAGES = """\
            max-remote-payload: 2097152
            fragment-size: 2097152
"""


@dataclass(frozen=True)
class Server:
    """One server of the benchmark.

    Attributes:
        name: As it is printed.
        command: The words after ``python``; PORT stands for the port, PEERS for that folder.
        package: The distribution whose version is reported.
        coroutine: Whether the author writes a coroutine for each connection.
        raw: Whether it echoes TCP instead of speaking WebSocket.
        upper: Whether it answers in capitals.
        quick: Whether ``make bench-quick`` has it.
    """

    name: str
    command: str
    package: str
    coroutine: bool = True
    raw: bool = False
    upper: bool = False
    quick: bool = False

    @property
    def mpchat(self) -> bool:
        """Whether it is ours."""
        return self.package == "mpchat"

    @property
    def shown(self) -> str:
        """Its command line as it would be typed in a checkout."""
        setting = "PYTHONPATH=PEERS " if self.upper else ""
        return f"{setting}python {self.command}".replace("PEERS", "loadtests/bench/peers")

    def command_line(self, port: int) -> list[str]:
        """Return its command line for a port."""
        words = self.command.replace("PORT", str(port)).split()
        return [sys.executable, *(word.replace("PEERS", str(PEERS)) for word in words)]


UVICORN = (
    "-m uvicorn --app-dir PEERS asgi_echo:app --port PORT --loop uvloop --http httptools"
    " --ws websockets-sansio --ws-per-message-deflate false --log-level warning"
)
GRANIAN = (
    "-m granian --interface rsgi --working-dir PEERS rsgi_echo:app --port PORT --loop uvloop"
    " --workers 1 --log-level warning"
)
MPCHAT = "-m mpchat serve -c static_config.yaml"

BASE = Server(
    "uvloop TCP", "PEERS/tcp_echo.py PORT", "uvloop", coroutine=False, raw=True, quick=True
)
SERVERS = (
    BASE,
    Server("mpchat", MPCHAT, "mpchat", quick=True),
    Server("mpchat, upper", f"{MPCHAT} --app mpchat_upper:components", "mpchat", upper=True),
    Server("picows callbacks", "PEERS/picows_callbacks_echo.py PORT", "picows", False, quick=True),
    Server("picows.websockets", "PEERS/picows_websockets_echo.py PORT", "picows", quick=True),
    Server("aiohttp", "PEERS/aiohttp_echo.py PORT", "aiohttp"),
    Server("websockets", "PEERS/websockets_echo.py PORT", "websockets"),
    Server("uvicorn", UVICORN, "uvicorn"),
    Server("granian", GRANIAN, "granian"),
)


class Running:
    """A server that is ready."""

    def __init__(self, server: Server, pid: int, port: int, seconds: float) -> None:
        self.server = server
        self.port = port
        self.ready_seconds = seconds
        self._pid = pid

    def cpu_ns(self) -> int:
        """Return the CPU time that all its processes have used."""
        return processes.cpu_ns(processes.tree(self._pid))

    def pss_kib(self) -> int:
        """Return the memory of all its processes."""
        return processes.pss_kib(processes.tree(self._pid))


@contextmanager
def running(
    server: Server, folder: Path, cores: str, *, large: bool = False, workers: int = 1
) -> Iterator[Running]:
    """Run a server until the end of the ``with`` block.

    Args:
        server: Which.
        folder: An empty folder for its config and its log.
        cores: The only CPUs that it may use, as taskset takes them.
        large: Whether messages exceed mpchat's default limits.
        workers: The worker processes of mpchat.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = MPCHAT_CONFIG.format(port=port, workers=workers) + (LARGE_MESSAGES if large else "")
    (folder / "static_config.yaml").write_text(config)
    log = folder / "log"
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *server.command_line(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PEERS)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_ready(_ready_line(log) if server.mpchat else _open_port(port), process, log)
        yield Running(server, process.pid, port, time.monotonic() - begun)
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
    return lambda: ": ws://" in log.read_text()


def _open_port(port: int) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return listens

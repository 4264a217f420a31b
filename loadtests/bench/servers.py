"""The servers: a name, and a command line as their authors give it. One worker process each."""

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
            path: /chat{limits}
"""
LARGE_MESSAGES = """
            max-remote-payload: 2097152
            fragment-size: 0"""


@dataclass(frozen=True)
class Server:
    """One server of the benchmark."""

    name: str
    command: Callable[[int], list[str]]
    raw: bool = False
    upper: bool = False
    mpchat: bool = False


def _script(name: str) -> Callable[[int], list[str]]:
    return lambda port: [sys.executable, str(PEERS / f"{name}.py"), str(port)]


def _mpchat(*arguments: str) -> Callable[[int], list[str]]:
    command = [sys.executable, "-m", "mpchat", "serve", "-c", "static_config.yaml", *arguments]
    return lambda _port: command


def _uvicorn(port: int) -> list[str]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "asgi_echo:app"]
    command += ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command += ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
    return [*command, "--log-level", "warning"]


def _granian(port: int) -> list[str]:
    command = [sys.executable, "-m", "granian", "--interface", "rsgi", "--workers", "1"]
    command += ["--working-dir", str(PEERS), "--port", str(port), "--loop", "uvloop"]
    return [*command, "--log-level", "warning", "rsgi_echo:app"]


SERVERS = (
    Server("uvloop TCP", _script("tcp_echo"), raw=True),
    Server("mpchat", _mpchat(), mpchat=True),
    Server("mpchat, upper", _mpchat("--app", "mpchat_upper:components"), upper=True, mpchat=True),
    Server("picows, callbacks", _script("picows_callbacks_echo")),
    Server("picows.websockets", _script("picows_websockets_echo")),
    Server("aiohttp", _script("aiohttp_echo")),
    Server("websockets", _script("websockets_echo")),
    Server("uvicorn", _uvicorn),
    Server("granian", _granian),
)


class Running:
    """A server that accepts connections."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int) -> None:
        self.server = server
        self.port = port
        self._pid = process.pid

    def cpu_ns(self) -> int:
        """Return the CPU time that all its processes have used."""
        return processes.cpu_ns(processes.tree(self._pid))

    def pss_kib(self) -> int:
        """Return the memory of all its processes."""
        return processes.pss_kib(processes.tree(self._pid))


@contextmanager
def running(
    server: Server, folder: Path, core: int, *, large: bool = False, workers: int = 1
) -> Iterator[Running]:
    """Run a server on one core; its files go to ``folder``.

    Args:
        server: Which.
        folder: A folder for its config and its log.
        core: The only CPU that it may use.
        large: Whether messages are larger than mpchat's default limit of 64 KiB.
        workers: How many worker processes of mpchat.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if server.mpchat:
        limits = LARGE_MESSAGES if large else ""
        config = MPCHAT_CONFIG.format(port=port, workers=workers, limits=limits)
        (folder / "static_config.yaml").write_text(config)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *server.command(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PEERS)} if server.upper else None,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_ready(server, port, process, log)
        yield Running(server, process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(server: Server, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for mpchat's ready line, and for any other server's open port."""
    end = time.monotonic() + DEADLINE
    while not (", 1 worker" in log.read_text() if server.mpchat else _listens(port)):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{server.name} did not start:\n{log.read_text()}")
        time.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

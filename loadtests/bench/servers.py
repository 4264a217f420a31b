"""The servers: what they are called, and their command lines, as their authors give them.

Rules. One worker process each. Shipped defaults, except what is said here: uvloop where the server is
in Python, no compression but in its rows (the client offers it there alone), no access log, log level
warning; for messages beyond 64 KiB two limits of mpchat are raised; and at rest each pings as often as
mpchat.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import node, processes

PEERS = Path(__file__).with_name("peers")
DEADLINE = 30.0
PING_SECONDS = 20  # the default of most; the peers that have another, or none, are told so

Setting = Literal["plain", "deflate", "pings"]

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
DEFLATE = """\
            permessage-deflate: true
"""


@dataclass(frozen=True)
class Server:
    """One server of the benchmark.

    Attributes:
        name: As it is printed.
        command: The words after ``python`` or ``node``; PORT stands for the port, PEERS for that
            folder.
        package: The distribution whose version is reported.
        plain: Further words, for all rows but these two.
        deflate: Further words that turn permessage-deflate on; None where there is none.
        pings: Further words that have it ping every connection; None where it cannot.
        raw: Whether it echoes TCP instead of speaking WebSocket.
        upper: Whether it answers in capitals.
        interpreted: Whether it is mpchat without its compiled modules.
        on_node: Whether it runs on Node.js.
        quick: Whether ``make bench-quick`` has it.
    """

    name: str
    command: str
    package: str
    plain: str = ""
    deflate: str | None = None
    pings: str | None = None
    raw: bool = False
    upper: bool = False
    interpreted: bool = False
    on_node: bool = False
    quick: bool = False

    @property
    def mpchat(self) -> bool:
        """Whether it is ours."""
        return self.package == "mpchat"

    @property
    def environment(self) -> dict[str, str]:
        """What its environment has beyond that of the benchmark."""
        path = {"PYTHONPATH": str(PEERS)} if self.upper else {}
        return path | ({"MPCHAT_COMPILED": "0"} if self.interpreted else {})

    def has(self, setting: Setting) -> bool:
        """Tell whether it can run so."""
        return self._further(setting) is not None

    def shown(self, setting: Setting) -> str:
        """Return its command line as it would be typed in a checkout."""
        words = [f"{name}={value}" for name, value in self.environment.items()]
        words += ["node" if self.on_node else "python", *self._words(setting)]
        return (
            " ".join(words).replace(str(PEERS), "PEERS").replace("PEERS", "loadtests/bench/peers")
        )

    def command_line(self, python: str, port: int, setting: Setting) -> list[str]:
        """Return its command line for a port."""
        words = [word.replace("PEERS", str(PEERS)) for word in self._words(setting)]
        program = node.program() if self.on_node else python
        return [program, *(word.replace("PORT", str(port)) for word in words)]

    def _words(self, setting: Setting) -> list[str]:
        return self.command.split() + (self._further(setting) or "").split()

    def _further(self, setting: Setting) -> str | None:
        return {"plain": self.plain, "deflate": self.deflate, "pings": self.pings}[setting]


UVICORN = (
    "-m uvicorn --app-dir PEERS asgi_echo:app --port PORT --loop uvloop --http httptools"
    " --ws websockets-sansio --log-level warning --ws-per-message-deflate"
)
GUNICORN = (
    "-m gunicorn --pythonpath PEERS asgi_echo:app --bind 127.0.0.1:PORT --worker-class asgi"
    " --workers 1 --asgi-loop uvloop --log-level warning"
)
GRANIAN = (
    "-m granian --interface rsgi --working-dir PEERS rsgi_echo:app --port PORT --loop uvloop"
    " --workers 1 --log-level warning"
)
MPCHAT = "-m mpchat serve -c static_config.yaml"

BASE = Server("uvloop TCP", "PEERS/tcp_echo.py PORT", "uvloop", deflate="", raw=True, quick=True)
OURS = Server("mpchat", MPCHAT, "mpchat", deflate="", pings="", quick=True)
INTERPRETED = Server(
    "mpchat, interpreted", MPCHAT, "mpchat", deflate="", pings="", interpreted=True
)
UPPER = Server("mpchat, upper", f"{MPCHAT} --app mpchat_upper:components", "mpchat", upper=True)
NODE = Server(
    "ws on Node.js",
    "PEERS/ws_echo.mjs PORT",
    "ws",
    deflate="deflate",
    pings=f"pings {PING_SECONDS}",
    on_node=True,
)
SERVERS = (
    BASE,
    OURS,
    INTERPRETED,
    UPPER,
    Server(
        "picows callbacks",
        "PEERS/picows_callbacks_echo.py PORT",
        "picows",
        pings=f"pings {PING_SECONDS}",
        quick=True,
    ),
    Server(
        "picows.websockets",
        "PEERS/picows_websockets_echo.py PORT",
        "picows",
        deflate="deflate",
        pings="",
        quick=True,
    ),
    Server(
        "aiohttp",
        "PEERS/aiohttp_echo.py PORT",
        "aiohttp",
        deflate="deflate",
        pings=f"pings {PING_SECONDS}",
    ),
    Server(
        "websockets", "PEERS/websockets_echo.py PORT", "websockets", deflate="deflate", pings=""
    ),
    Server("uvicorn", UVICORN, "uvicorn", plain="false", deflate="true", pings="false"),
    Server("gunicorn", GUNICORN, "gunicorn"),
    Server("granian", GRANIAN, "granian"),
    NODE,
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
) -> Iterator[Running]:
    """Run a server until the end of the ``with`` block.

    Args:
        server: Which.
        folder: An empty folder for its config and its log.
        place: Where.
        setting: How.
        large: Whether messages exceed mpchat's default limits.
        workers: The worker processes of mpchat.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = MPCHAT_CONFIG.format(port=port, workers=workers)
    config += (LARGE_MESSAGES if large else "") + (DEFLATE if setting == "deflate" else "")
    (folder / "static_config.yaml").write_text(config)
    log = folder / "log"
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", place.cores, *server.command_line(place.python, port, setting)],
            cwd=folder,
            env={**os.environ, **server.environment},
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

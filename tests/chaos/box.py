"""The tortured service and its crowd, as a torture sees them.

Everything that is started here is ended here, and ``leftovers`` names what is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from mpchat.ipc.control import ControlError, ask
from mpchat.ipc.counters import TOTALS
from mpchat.testsuite.service import Service, wait_until
from tests.chaos.clients import HANDSHAKE, Plan
from tests.chaos.judge import Entry, read_ledger
from tests.chaos.records import Record, read_records

ROOT = Path(__file__).parent.parent.parent
SERVED = Path(__file__).parent / "served"


class Box:
    """A service in a folder of its own.

    ``without`` names the measure that is switched off in it (see served/sitecustomize.py); options are
    added to the section server, ``dynamic`` to the dynamic config.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 4,
        without: str = "",
        dynamic: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.ledger_path = folder / "ledger"
        self.ledger_path.touch()
        self.control = folder / "control.sock"
        self.app = folder / "echo_app.py"
        self.app.write_text((SERVED / "echo_app.py").read_text())
        self.config = folder / "static_config.yaml"
        self.write_config(_config(workers, str(self.control), options or {}))
        self.dynamic = folder / "dynamic.json"
        self.dynamic.write_text(json.dumps({"USERVER_LOG_REQUEST": False, **(dynamic or {})}))
        command = [sys.executable, "-m", "mpchat", "serve", "--app", "echo_app:components"]
        environment = {
            "MPCHAT_CHAOS_LEDGER": str(self.ledger_path),
            "MPCHAT_CHAOS_WITHOUT": without,
            "PYTHONPATH": str(SERVED),
        }
        self._before = set(folder.iterdir())
        self.service = Service([*command, "-c", str(self.config)], folder, environment)
        self.samples: list[dict[str, int]] = []

    def __enter__(self) -> Self:
        try:
            self.service.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write_config(self, config: Any) -> None:
        """Have another static config for the next template that reads it."""
        self.config.write_text(yaml.safe_dump(config))

    def status(self) -> dict[str, Any]:
        """Return what `mpchat status --json` does."""
        return ask(str(self.control), {"verb": "status"})

    def workers(self, state: str = "ready") -> dict[int, int]:
        """Return the slots by the pids of all workers in that state."""
        rows = self.status()["workers"]
        return {row["pid"]: row["slot"] for row in rows if row["state"] == state}

    @property
    def ledger(self) -> dict[int, Entry]:
        """Return what the handlers wrote down."""
        return read_ledger(self.ledger_path)

    @contextlib.contextmanager
    def crowd(self, plan: Mapping[str, Any]) -> Iterator[list[Record]]:
        """Have clients play while the block runs; their records are in the list afterwards."""
        crowd = Crowd(Plan(port=self.service.port, **plan))
        records: list[Record] = []
        try:
            yield records
            records += crowd.finish()
        finally:
            crowd.close()

    def say(self, word: str) -> int:
        """Say a word to the echo, and return which worker heard it."""
        with socket.create_connection(("127.0.0.1", self.service.port)) as sock:
            sock.sendall(HANDSHAKE.format(port=self.service.port, number=0).encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            payload = word.encode()
            sock.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        return int(head.partition(b"Worker: ")[2].split(b"\r\n")[0])

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note the totals all the time while the block runs, in ``samples``."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                # The monitor may be one of the victims.
                with contextlib.suppress(ControlError):
                    totals = self.status()["totals"]
                    self.samples.append({name: totals[name] for name in TOTALS})

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_connected(self, count: int) -> None:
        """Wait until that many clients are connected."""
        wait_until(
            lambda: self.status()["totals"]["connections"] == count, f"{count} clients", deadline=60
        )

    def wait_settled(self, workers: int, *gone: int, deadline: float = 60) -> None:
        """Wait until that many slots have a ready worker, none has another, and none is one of these."""

        def settled() -> bool:
            try:
                rows = self.status()["workers"]
            except ControlError:
                return False
            living = [row for row in rows if row["state"] != "away"]
            settled = [row["state"] for row in living] == ["ready"] * workers
            return settled and not {row["pid"] for row in living} & set(gone)

        wait_until(settled, f"{workers} ready workers and no others", deadline)

    def leftovers(self) -> list[str]:
        """Return what a service that has ended left behind: processes, the port, files."""
        found = []
        try:
            wait_until(lambda: not self._processes(), "end of all processes", deadline=3)
        except TimeoutError:
            found += [f"{pid} ({title}) is left" for pid, title in self._processes().items()]
        if not _can_listen(self.service.port):
            found.append(f"port {self.service.port} is still taken")
        known = {self.folder / "stderr.log", self.folder / "stdout.log"}
        for path in set(self.folder.iterdir()) - self._before - known:
            if path.name != "__pycache__":
                found.append(f"the file {path.name} is left")
        return found

    def close(self) -> None:
        """End it, whatever state it is in, and what it has left behind."""
        self.service.close()
        for pid in self._processes():
            kill(pid, signal.SIGKILL)

    def _processes(self) -> dict[int, str]:
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    state, _parent, _group, session = (
                        (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                    )
                    if int(session) == self.service.pid and state != "Z":
                        title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        found[int(entry.name)] = title.strip()
        return found


class Crowd:
    """The process of the clients."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.clients", plan.to_argument()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> list[Record]:
        """Have all say goodbye, and return their records."""
        output, _nothing = self._process.communicate("")
        if self._process.returncode:
            raise RuntimeError(f"the clients ended with exit status {self._process.returncode}")
        return read_records(output.splitlines())

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def sleep_until(at: float) -> None:
    """Wait for a time of the monotonic clock: tortures have a rhythm."""
    time.sleep(max(0.0, at - time.monotonic()))


def _config(workers: int, control: str, options: Mapping[str, Any]) -> dict[str, Any]:
    server = {
        "control-socket": control,
        "listener": {"port": 0, "task_processor": "main", "backlog": 4096},
        **options,
    }
    return {
        "components_manager": {
            "task_processors": {
                "main": {"worker_threads": workers},
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
                "websocket-handler": {"path": "/chat", "task_processor": "main"},
            },
        }
    }


def _can_listen(port: int) -> bool:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("::", port))
            sock.listen()
        except OSError:
            return False
    return True


def kill(pid: int, number: int) -> None:
    """Signal one of the service's processes; it may just have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

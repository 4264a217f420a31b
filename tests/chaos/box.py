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
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.counters import TOTALS
from mpchat.scoreboard.scoreboard import ROWS, WORKER_STATES, Scoreboard
from mpchat.testsuite.service import Service, wait_until
from tests.chaos import clients, members
from tests.chaos.clients import HANDSHAKE
from tests.chaos.judge import Entry, Kill, read_ledger
from tests.chaos.records import Record, read_records
from tests.chaos.sightings import Notes

ROOT = Path(__file__).parent.parent.parent
SERVED = Path(__file__).parent / "served"
ECHO: dict[str, Any] = {"websocket-handler": {"path": "/chat"}}
"""The handlers of most tortures: served/echo_app.py."""


class Box:
    """A service in a folder of its own.

    ``without`` names the measure that is switched off in it (see served/sitecustomize.py); options are
    added to the section server, ``dynamic`` to the dynamic config. ``app`` is a module of served, and
    ``components`` are the sections of what it adds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 4,
        without: str = "",
        dynamic: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        app: str = "echo_app",
        components: Mapping[str, Any] = ECHO,
    ) -> None:
        self.folder = folder
        self.ledger_path = folder / "ledger"
        self.ledger_path.touch()
        self.control = folder / "control.sock"
        self.app = folder / f"{app}.py"
        self.app.write_text((SERVED / f"{app}.py").read_text())
        self.config = folder / "static_config.yaml"
        self.write_config(_config(workers, str(self.control), options or {}, components))
        self.dynamic = folder / "dynamic.json"
        self.dynamic.write_text(json.dumps({"USERVER_LOG_REQUEST": False, **(dynamic or {})}))
        command = [sys.executable, "-m", "mpchat", "serve", "--app", f"{app}:components"]
        self._without = {"MPCHAT_CHAOS_WITHOUT": without, "PYTHONPATH": str(SERVED)}
        if without:
            # Compiled modules know each other, and would not use a changed one. It is said here, since a
            # process that changes its own environment may lose its title.
            self._without["MPCHAT_COMPILED"] = "0"
        environment = {"MPCHAT_CHAOS_LEDGER": str(self.ledger_path), **self._without}
        self._before = set(folder.iterdir())
        self.service = Service([*command, "-c", str(self.config)], folder, environment)
        self.samples: list[dict[str, int]] = []
        self.outages: list[tuple[float, float]] = []

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

    @cached_property
    def board(self) -> Scoreboard:
        """The service's scoreboard: to look at it costs the service nothing, however often."""
        for entry in Path(f"/proc/{self.service.pid}/fd").iterdir():
            if "mpchat-scoreboard" in os.readlink(entry):
                return Scoreboard(os.open(entry, os.O_RDWR | os.O_CLOEXEC))
        raise LookupError("the supervisor has no scoreboard")

    def total(self, name: str) -> int:
        """Return a counter or gauge of the whole service."""
        return self.board.total(name, self.board.service("slots"))

    def states(self) -> list[dict[int, str]]:
        """Return the states of each slot's workers by pid."""
        board = self.board
        slots = [
            {
                board.slot(slot, f"pid_{row}"): WORKER_STATES[board.slot(slot, f"state_{row}")]
                for row in range(ROWS)
            }
            for slot in range(board.service("slots"))
        ]
        return [{pid: state for pid, state in slot.items() if state != "none"} for slot in slots]

    def workers(self) -> dict[int, int]:
        """Return the slots by the pids of all workers that are ready."""
        return {
            pid: slot
            for slot, workers in enumerate(self.states())
            for pid, state in workers.items()
            if state == "ready"
        }

    @property
    def ledger(self) -> dict[int, Entry]:
        """Return what the handlers wrote down."""
        return read_ledger(self.ledger_path)

    @contextlib.contextmanager
    def crowd(self, plan: Mapping[str, Any]) -> Iterator[list[Record]]:
        """Have clients play while the block runs; their records are in the list afterwards."""
        argument = clients.Plan(port=self.service.port, **plan).to_argument()
        crowd = Crowd("clients", argument)
        records: list[Record] = []
        try:
            yield records
            records += read_records(crowd.finish())
        finally:
            crowd.close()

    @contextlib.contextmanager
    def members(self, plan: Mapping[str, Any]) -> Iterator[Notes]:
        """Have members of rooms talk while the block runs; their notes are there afterwards."""
        argument = members.Plan(port=self.service.port, **plan).to_argument()
        # They also do without a measure that is theirs.
        crowd = Crowd("members", argument, self._without)
        notes = Notes()
        try:
            yield notes
            notes.add(crowd.finish())
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
        """Note the totals all the time while the block runs, and when there was no broker."""
        over = threading.Event()

        def watch() -> None:
            before = time.monotonic()
            while not over.wait(0.05):
                self.samples.append({name: self.total(name) for name in TOTALS})
                now = time.monotonic()
                if BROKER_STATES[self.board.broker("state")] != "ready":
                    self.outages.append((before, now))
                before = now

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def descriptors(self) -> int:
        """Return how many descriptors the supervisor has."""
        return len(list(Path(f"/proc/{self.service.pid}/fd").iterdir()))

    def wait_connected(self, count: int) -> None:
        """Wait until so many clients are connected."""
        wait_until(lambda: self.total("connections") >= count, f"{count} clients", deadline=60)

    def wait_said(self, count: int) -> None:
        """Wait until so many messages are in the rooms."""
        wait_until(
            lambda: self.board.broker("messages") >= count, f"{count} messages", deadline=120
        )

    def wait_wanted(self, count: int) -> None:
        """Wait until a signal has changed how many workers there are to be."""

        def wanted() -> bool:
            slots = range(self.board.service("slots"))
            return sum(self.board.slot(slot, "wanted") for slot in slots) == count

        wait_until(wanted, f"{count} slots")

    def wait_settled(self, workers: int, *gone: int, deadline: float = 60) -> None:
        """Wait until that many slots have a ready worker, none has another, and none is one of these."""

        def settled() -> bool:
            found = {pid: state for slot in self.states() for pid, state in slot.items()}
            return list(found.values()) == ["ready"] * workers and not found.keys() & set(gone)

        wait_until(settled, f"{workers} ready workers and no others", deadline)

    def tracebacks(self) -> list[str]:
        """Return a line if the service has logged any: mistakes that nobody has noticed otherwise."""
        lines = [line for line in self.service.stderr().splitlines() if "Traceback" in line]
        return [f"{len(lines)} tracebacks in the log; the first: {lines[0]}"] if lines else []

    def leftovers(self) -> list[str]:
        """Return what a service that has ended left behind: processes, the port, files."""
        found = []
        try:
            wait_until(lambda: not self._processes(), "end of all processes", deadline=10)
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
        if "board" in vars(self):
            self.board.close()
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
    """The process of the clients: a module of this package."""

    def __init__(
        self, module: str, argument: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.chaos.{module}", argument],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def finish(self) -> list[str]:
        """Have all say goodbye, and return their notes."""
        output, _nothing = self._process.communicate("")
        if self._process.returncode:
            raise RuntimeError(f"the clients ended with exit status {self._process.returncode}")
        return output.splitlines()

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def sleep_until(at: float) -> None:
    """Wait for a time of the monotonic clock: tortures have a rhythm."""
    time.sleep(max(0.0, at - time.monotonic()))


def _config(
    workers: int, control: str, options: Mapping[str, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
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
                **{
                    name: {"task_processor": "main", **section} if "path" in section else section
                    for name, section in components.items()
                },
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


def end(pid: int, stopped: float = 0.0) -> Kill:
    """Kill a worker, which stands still since ``stopped``, if it does, and return when that was."""
    killed = time.monotonic()
    kill(pid, signal.SIGKILL)
    # Until the kill it may have accepted whoever came.
    return Kill(stopped or time.monotonic(), killed)

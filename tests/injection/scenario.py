"""The life of a service that one failing call happens in, and what has to hold whatever fails.

A service is started, reloaded, scaled, loses a worker and its template, is restarted and stopped. While
a step fails, it is given again: the next one has to succeed. At the end the service has left with a
documented code, and nothing of it is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mpchat.errors import ExitCode
from mpchat.ipc.control import ControlError, ask
from mpchat.testsuite.service import Service, wait_until
from tests.injection.agent.sitecustomize import VARIABLE

AGENT = Path(__file__).parent / "agent"
STEP_SECONDS = 45.0
"""That any step may take, retries included; a template that never loads is not among what is injected."""
_PATIENCE = 20.0
_CODES = {int(code) for code in ExitCode}


@dataclass(frozen=True)
class Injection:
    """One call that fails once."""

    role: str
    name: str
    site: str
    occurrence: int
    errno: int

    def __str__(self) -> str:
        what = os.strerror(self.errno) if self.errno > 0 else "MemoryError"
        return f"{self.role}: {self.name} at {self.site}, call {self.occurrence}: {what}"


class Life:
    """One service, from its start to what is left of it."""

    def __init__(self, folder: Path, order: dict[str, Any]) -> None:
        self.folder = folder
        self.control = str(folder / "control.sock")
        (folder / "dynamic.json").write_text(json.dumps({"USERVER_LOG_REQUEST": False}))
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_config(self.control)))
        self.hit = folder.parent / f"{folder.name}.hit"
        path = os.pathsep.join([str(AGENT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"PYTHONPATH": path, VARIABLE: json.dumps(order)}
        command = [sys.executable, "-m", "mpchat", "serve", "-c", str(config)]
        self._before = set(folder.iterdir())
        self.service = Service(command, folder, environment)
        self.problems: list[str] = []

    def run(self) -> list[str]:
        """Return what did not hold."""
        try:
            self._steps()
        except (TimeoutError, AssertionError, ControlError, OSError) as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self.service.close()
            self.problems += self._leftovers()
        return self.problems

    def _steps(self) -> None:
        # Not by what it tells its service manager or prints: that may be what fails.
        wait_until(self._is_up_or_over, "ready workers", STEP_SECONDS)
        if (code := self.service.process.poll()) is not None:
            self._check_code(code)
            return
        for step in (self._reload, self._scale, self._crash, self._lose_template, self._restart):
            step()
            if self.hit.exists():
                # The order after the one that something failed in.
                self._reload()
                break
        self._serves()
        self._check_code(self.service.stop(signal.SIGTERM))
        assert self.service.process.poll() == 0, "a stop that was asked for is a success"

    def _check_code(self, code: int) -> None:
        assert code in _CODES, f"left with the undocumented code {code}"
        assert self.hit.exists() or code == 0, f"left with {code} without an injection"

    def _is_up_or_over(self) -> bool:
        return self.service.process.poll() is not None or self._has_workers(2)

    # Steps: each is given again until it succeeds, which it has to within its time

    def _reload(self) -> None:
        self._give("reload")

    def _scale(self) -> None:
        self._give("scale", count=3)
        self._settle(3)
        self._give("scale", count=2)
        self._settle(2)

    def _crash(self) -> None:
        victim = self.service.pids("worker")[0]
        os.kill(victim, signal.SIGKILL)
        self._settle(2, victim)

    def _lose_template(self) -> None:
        victim = self.service.pids("template")[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: self._new_template(victim), "new template", STEP_SECONDS)

    def _new_template(self, victim: int) -> bool:
        return any(pid != victim for pid in self.service.pids("template"))

    def _restart(self) -> None:
        self._give("restart", slot=None)
        self._settle(2)

    def _give(self, verb: str, **arguments: Any) -> None:
        """Give an order; one that fails is told and, given again, succeeds."""
        end = time.monotonic() + STEP_SECONDS
        while True:
            try:
                ask(self.control, {"verb": verb, **arguments}, _PATIENCE)
            except ControlError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def _settle(self, count: int, *gone: int) -> None:
        what = f"{count} ready workers"
        wait_until(lambda: self._has_workers(count, *gone), what, STEP_SECONDS)

    def _has_workers(self, count: int, *gone: int) -> bool:
        try:
            workers = ask(self.control, {"verb": "status"}, _PATIENCE)["workers"]
        except ControlError:
            return False
        states = [worker["state"] for worker in workers if worker["state"] != "away"]
        pids = {worker.get("pid") for worker in workers}
        return states == ["ready"] * count and not pids & set(gone)

    def _serves(self) -> None:
        wait_until(self._answers, "answer to a client", STEP_SECONDS)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, ControlError):
            address = ask(self.control, {"verb": "status"}, _PATIENCE)["address"]
            url = f"http://127.0.0.1:{urlsplit(address).port}/ping"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        return False

    def _leftovers(self) -> list[str]:
        found = []
        try:
            wait_until(lambda: not self._processes(), "end of all processes", 5)
        except TimeoutError:
            for pid, title in self._processes().items():
                found.append(f"{title} (pid {pid}) is left")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        known = {self.folder / "stderr.log", self.folder / "stdout.log"}
        files = set(self.folder.iterdir()) - self._before - known
        return found + [f"the file {path.name} is left" for path in files]

    def _processes(self) -> dict[int, str]:
        """Return what lives of the service's session."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.service.pid and fields[0] != "Z":
                        title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        found[int(entry.name)] = title.strip()
        return found


def record(folder: Path) -> list[tuple[str, str, str]]:
    """Return role, name and site of every call of a life in which nothing fails."""
    path = folder.parent / f"{folder.name}.calls"
    life = Life(folder, {"record": str(path)})
    problems = life.run()
    if problems:
        raise RuntimeError(f"without an injection: {problems}\n{life.service.stderr()}")
    lines = path.read_text().splitlines()
    return [(role, name, site) for role, name, site in (line.split("\t") for line in lines)]


def inject(
    folder: Path, injection: Injection, after: Callable[[Life], None] | None = None
) -> list[str]:
    """Return what does not hold of a life in which this call fails."""
    hit = folder.parent / f"{folder.name}.hit"
    life = Life(folder, {**injection.__dict__, "hit": str(hit)})
    problems = life.run()
    if after is not None:
        after(life)
    return problems


def _config(control: str) -> dict[str, Any]:
    return {
        "components_manager": {
            "task_processors": {"main": {"worker_threads": 2}, "fs": {"worker_threads": 1}},
            "default_task_processor": "main",
            "components": {
                "server": {
                    "control-socket": control,
                    "listener": {"port": 0, "task_processor": "main"},
                },
                "logging": {
                    "fs-task-processor": "fs",
                    "loggers": {"default": {"file_path": "@stderr", "level": "info"}},
                },
                "dynamic-config-fallbacks": {"fallback-path": "dynamic.json"},
                "websocket-handler": {"path": "/chat", "task_processor": "main"},
                "handler-ping": {"path": "/ping", "task_processor": "main"},
            },
        }
    }

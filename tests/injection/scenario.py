"""The life of a service that one failing call happens in, and what has to hold whatever fails.

A service with rooms, a console and a config service is started, reloaded, follows the config service, is
scaled, loses a worker, its broker, its console and its template, is restarted and stopped. While a step
fails, it is given again: the next one has to succeed. At the end the service has left with a documented
code, and nothing of it is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mpchat.errors import ExitCode
from mpchat.ipc.control import ControlError, ask
from mpchat.testsuite.service import Service, wait_until
from tests.injection.agent.sitecustomize import VARIABLE
from tests.kit.config_server import config_server

AGENT = Path(__file__).parent / "agent"
STEP_SECONDS = 120.0
"""That any step may take, retries included; a template that never loads is not among what is injected."""
_INTERVAL = 0.05
"""Seconds between two looks at a service: a look costs as much as a step of it."""
_PATIENCE = 40.0
"""Seconds for an answer. A restart takes many on a busy machine, and begins anew if it is given again."""
_LIMITS = 1000
"""What the config service says of connections before the start; later it says twice as much"""
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
    """One service, from its start to what is left of it.

    ``is_over`` is asked after each step: once it is true, one more order and the end follow. ``most``
    are the descriptors that the supervisor may have after each step. ``before_step`` is told its pid.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        is_over: Callable[[], bool] = lambda: False,
        most: Mapping[str, int] | None = None,
        may_end: bool = False,
        before_step: Callable[[int], None] = lambda _pid: None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._before_step = before_step
        self._is_over = is_over
        self._most = most
        self._may_end = may_end
        self.descriptors: dict[str, int] = {}
        """Of the supervisor, after each step"""
        self.control = str(folder / "control.sock")
        (folder / "dynamic.json").write_text(json.dumps({"USERVER_LOG_REQUEST": False}))
        config = folder / "config.yaml"
        self._cleanup = contextlib.ExitStack()
        self._config_service = self._cleanup.enter_context(config_server())
        self._follow_next(_LIMITS)
        config.write_text(yaml.safe_dump(_config(self.control, self._config_service.url)))
        command = [*wrapper, sys.executable, "-m", "mpchat", "serve", "-c", str(config)]
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
            self._cleanup.close()
            self.problems += self._leftovers()
        return self.problems

    def wait_up(self) -> None:
        """Wait until it serves, or has ended."""
        # Not by what it tells its service manager or prints: that may be what fails.
        wait_until(self._is_up_or_over, "ready workers", STEP_SECONDS, _INTERVAL)

    def _steps(self) -> None:
        self.wait_up()
        if (code := self.service.process.poll()) is not None:
            assert code in _CODES, f"left with the undocumented code {code}"
            assert self._may_end, f"left with {code}"
            return
        for step in (
            self._reload,
            self._ask,
            self._follow,
            self._scale,
            self._crash,
            self._lose_broker,
            self._lose_console,
            self._lose_template,
            self._restart,
        ):
            self._before_step(self.service.pid)
            step()
            if self._is_over():
                # The order after the one that something failed in.
                self._reload()
            self._count(step.__name__)
            if self._is_over():
                break
        self._serves()
        code = self.service.stop(signal.SIGTERM)
        assert code == 0, f"a stop that was asked for left with {code}"

    def _count(self, step: str) -> None:
        """See that no descriptor was left open on the way."""
        folder = Path(f"/proc/{self.service.pid}/fd")

        def count() -> int:
            return len(list(folder.iterdir()))

        if self._most is not None:
            most = self._most[step]
            what = (
                f"end of a leak: {count()} descriptors, where there were {most} without the fault"
            )
            wait_until(lambda: count() <= most, what, STEP_SECONDS, _INTERVAL)
        self.descriptors[step] = count()

    def _is_up_or_over(self) -> bool:
        return self.service.process.poll() is not None or self._has_workers(2)

    # Steps: each is given again until it succeeds, which it has to within its time

    def _reload(self) -> None:
        self._give("reload")

    def _ask(self) -> None:
        self._give("listeners")
        self._give("reopen")

    def _follow(self) -> None:
        self._follow_next(2 * _LIMITS)
        self._wait_followed()

    def _follow_next(self, limit: int) -> None:
        """Have the config service say something new."""
        self._limits = {"max_connections": limit}
        self._config_service.set(MPCHAT_LIMITS=self._limits)

    def _wait_followed(self) -> None:
        """What the config service has said last is in force."""
        what = "what the config service says"
        wait_until(self._has_followed, what, STEP_SECONDS, _INTERVAL)

    def _has_followed(self) -> bool:
        try:
            answer = ask(self.control, {"verb": "dynamic-config"}, _PATIENCE)
        except ControlError:
            return False
        return bool(answer["variables"]["MPCHAT_LIMITS"]["value"] == self._limits)

    def _scale(self) -> None:
        self._give("scale", count=3)
        self._settle(3)
        self._give("scale", count=2)
        self._settle(2)

    def _crash(self) -> None:
        self._settle(2, self._kill_one("worker"))

    def _lose_broker(self) -> None:
        victim = self._kill_one("broker")
        wait_until(lambda: self._has("broker", victim), "new broker", STEP_SECONDS, _INTERVAL)
        self._give("rooms")

    def _lose_console(self) -> None:
        victim = self._kill_one("console")
        wait_until(lambda: self._has("console", victim), "new console", STEP_SECONDS, _INTERVAL)

    def _has(self, what: str, victim: int) -> bool:
        """Whether there is a broker or a console that serves, and another one than before."""
        try:
            found = ask(self.control, {"verb": "status"}, _PATIENCE)[what]
        except ControlError:
            return False
        return bool(found["state"] == "ready" and found["pid"] != victim)

    def _lose_template(self) -> None:
        victim = self._kill_one("template")
        wait_until(lambda: self._new_template(victim), "new template", STEP_SECONDS, _INTERVAL)

    def _kill_one(self, title: str) -> int:
        victim = wait_until(lambda: self.service.pids(title), title, STEP_SECONDS, _INTERVAL)[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return victim

    def _new_template(self, victim: int) -> bool:
        return any(pid != victim for pid in self.service.pids("template"))

    def _restart(self) -> None:
        victim = wait_until(
            lambda: self.service.pids("console"), "console", STEP_SECONDS, _INTERVAL
        )
        self._give("restart", slot=None)
        self._settle(2)
        wait_until(lambda: self._has("console", victim[0]), "new console", STEP_SECONDS, _INTERVAL)
        self._wait_followed()

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
        wait_until(lambda: self._has_workers(count, *gone), what, STEP_SECONDS, _INTERVAL)

    def _has_workers(self, count: int, *gone: int) -> bool:
        try:
            workers = ask(self.control, {"verb": "status"}, _PATIENCE)["workers"]
        except ControlError:
            return False
        states = [worker["state"] for worker in workers if worker["state"] != "away"]
        pids = {worker.get("pid") for worker in workers}
        return states == ["ready"] * count and not pids & set(gone)

    def _serves(self) -> None:
        wait_until(self._answers, "answer to a client", STEP_SECONDS, _INTERVAL)

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
            wait_until(
                lambda: not self._processes(), "end of all processes", STEP_SECONDS, _INTERVAL
            )
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


@dataclass(frozen=True)
class Record:
    """A life in which nothing fails: role, name and site of every call, and its descriptors by step."""

    calls: list[tuple[str, str, str]]
    descriptors: Mapping[str, int]


def record(folder: Path) -> Record:
    """Return what happens in a life in which nothing fails."""
    path = folder.parent / f"{folder.name}.calls"
    life = Life(folder, _order({"record": str(path)}))
    problems = life.run()
    if problems:
        raise RuntimeError(f"without an injection: {problems}\n{life.service.stderr()}")
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return Record([(role, name, site) for role, name, site in lines], life.descriptors)


def inject(folder: Path, injection: Injection, most: Mapping[str, int]) -> tuple[bool, list[str]]:
    """Return whether this call failed in a life, and what did not hold there."""
    hit = folder.parent / f"{folder.name}.hit"
    order = _order({**asdict(injection), "hit": str(hit)})
    life = Life(folder, order, is_over=hit.exists, most=most, may_end=True)
    problems = life.run()
    if not hit.exists() and life.service.process.poll():
        problems.append(f"left with {life.service.process.poll()} without an injection")
    return hit.exists(), problems


def _order(order: dict[str, Any]) -> dict[str, str]:
    path = os.pathsep.join([str(AGENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, VARIABLE: json.dumps(order)}


def _config(control: str, config_service: str) -> dict[str, Any]:
    return {
        "components_manager": {
            "task_processors": {"main": {"worker_threads": 2}, "fs": {"worker_threads": 1}},
            "default_task_processor": "main",
            "components": {
                "server": {
                    "control-socket": control,
                    "listener": {"port": 0, "task_processor": "main"},
                    "listener-monitor": {"port": 0},
                },
                "logging": {
                    "fs-task-processor": "fs",
                    "loggers": {"default": {"file_path": "@stderr", "level": "info"}},
                },
                "dynamic-config-fallbacks": {"fallback-path": "dynamic.json"},
                "dynamic-config": {"updates-enabled": True},
                "dynamic-config-client": {
                    "config-url": config_service,
                    "service-name": "life",
                    "http-timeout": "5s",
                    "http-retries": 1,
                },
                "dynamic-config-client-updater": {
                    "config-settings": False,
                    "first-update-fail-ok": True,
                    "update-interval": "200ms",
                },
                "rooms": {"history-memory": 1024 * 1024},
                "websocket-handler": {"path": "/chat", "task_processor": "main"},
                "handler-ping": {"path": "/ping", "task_processor": "main"},
            },
        }
    }

"""One attack: honest clients before, beside and after the attackers, and what is asked of the service.

Bars. No honest client is cut off or misses an answer, whatever happens. The limits that are there for the
attack have ended somebody. Memory stays within what the options promise. Afterwards sockets, descriptors
and memory are back. With ``timed`` the answers to honest clients take at p99 at most twice as long as
before.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mpchat.ipc.control import ask
from mpchat.testsuite.service import Service, wait_until
from tests.attacks.attackers import Plan
from tests.attacks.kinds import Attack

ROOT = Path(__file__).parent.parent.parent
WORKERS = 2
MIB = 1024 * 1024
_KEPT = 16 * MIB
"""What a worker's allocator keeps for its next messages (mpchat/worker/memory.py)."""
_SLACK = 4 * MIB
"""Of a process: pages that hold something else beside what was freed."""
_PAUSE = 0.1
"""Seconds between an honest client's messages: far less often than any limit allows."""
_AT_MOST = 2.0
"""Times the p99 before."""
_LEAST = 0.001
"""Seconds below which a p99 is the machine's own restlessness."""


@dataclass(frozen=True)
class Scale:
    """How many, and for how many seconds each phase lasts."""

    attackers: int
    honest: int
    seconds: float
    timed: bool


SHORT = Scale(attackers=60, honest=10, seconds=0.3, timed=False)
FULL = Scale(attackers=2000, honest=100, seconds=10.0, timed=True)


@dataclass
class Outcome:
    """What was measured, in words for the page, and which bars were missed."""

    numbers: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Crowd:
    """A process of clients, which says ``all`` when all have begun."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.attacks.{module}", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "all\n":
            self.close()
            raise RuntimeError(f"{module} did not begin")

    def finish(self) -> str:
        """Have all end, and return what they say."""
        output, _nothing = self._process.communicate("")
        if self._process.returncode:
            raise RuntimeError(f"clients ended with exit status {self._process.returncode}")
        return output

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@dataclass(frozen=True)
class State:
    """What a service holds."""

    sockets: int
    descriptors: int
    memory: int


class Attacked:
    """The service."""

    def __init__(self, folder: Path, attack: Attack) -> None:
        self._control = str(folder / "control.sock")
        (folder / "static_config.yaml").write_text(yaml.safe_dump(_config(self._control, attack)))
        (folder / "dynamic.json").write_text(json.dumps(dict(attack.dynamic)))
        command = [sys.executable, "-m", "mpchat", "serve", "-c", "static_config.yaml"]
        if attack.descriptors:
            limit = f'ulimit -n {attack.descriptors}; exec "$@"'
            command = ["sh", "-c", limit, "sh", *command]
        self.service = Service(command, folder)
        try:
            self.service.wait_ready()
        except BaseException:
            self.service.close()
            raise

    def status(self) -> dict[str, Any]:
        return ask(self._control, {"verb": "status"})

    def state(self) -> State:
        status = self.status()
        pids = [worker["pid"] for worker in status["workers"]]
        return State(
            status["totals"]["sockets"],
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            sum(worker["pss_bytes"] or 0 for worker in status["workers"]),
        )

    @contextmanager
    def watched(self) -> Iterator[list[State]]:
        """Note the state twice a second while the block runs."""
        over = threading.Event()
        states: list[State] = []

        def watch() -> None:
            while not over.wait(0.5):
                states.append(self.state())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield states
        finally:
            over.set()
            thread.join()
            states.append(self.state())


def run(attack: Attack, folder: Path, scale: Scale) -> Outcome:
    """Attack a service in this folder."""
    attacked = Attacked(folder, attack)
    port = attacked.service.port
    honest = attackers = None
    try:
        honest = Crowd("honest", str(port), str(scale.honest), str(_PAUSE))
        # What begins lazily has begun.
        time.sleep(scale.seconds / 5)
        before = attacked.state()
        times = [time.monotonic()]
        time.sleep(scale.seconds)
        times.append(time.monotonic())
        with attacked.watched() as states:
            opening = scale.attackers / scale.seconds * 4
            plan = Plan(port, attack.kind, scale.attackers, opening, 3.0 if scale.timed else 0.1)
            attackers = Crowd("attackers", plan.to_argument())
            wait_until(
                lambda: all(attacked.status()["limits"][name] for name in attack.limits),
                f"victim of {', '.join(attack.limits)}",
            )
            time.sleep(max(0.0, times[-1] + scale.seconds - time.monotonic()))
        limits = attacked.status()["limits"]
        ends = json.loads(attackers.finish())
        times.append(time.monotonic())
        failures = _wait_back(attacked, before)
        times.append(time.monotonic())
        time.sleep(scale.seconds)
        times.append(time.monotonic())
        after = attacked.state()
        answers = [tuple(map(float, line.split())) for line in honest.finish().splitlines()]
    finally:
        for crowd in (honest, attackers):
            if crowd is not None:
                crowd.close()
        attacked.service.close()
    phases = [
        p99([took for at, took in answers if begun <= at < ended])
        for begun, ended in ((times[0], times[1]), (times[1], times[2]), (times[3], times[4]))
    ]
    highest = max(state.memory for state in states)
    allowed = before.memory + WORKERS * _KEPT + scale.attackers * attack.each
    if highest > allowed:
        failures.append(f"memory rose to {highest / MIB:.0f} MiB, promised are {allowed / MIB:.0f}")
    if after.memory > before.memory + WORKERS * (_KEPT + _SLACK):
        failures.append(f"memory was {before.memory / MIB:.0f} and is {after.memory / MIB:.0f} MiB")
    if scale.timed and not phases[1] <= _AT_MOST * max(phases[0], _LEAST):
        failures.append(f"the p99 was {_ms(phases[0])}, and beside the attackers {_ms(phases[1])}")
    times_before = f"{phases[1] / phases[0]:.1f} times"
    return Outcome(
        {
            "p99 before, beside, after": f"{', '.join(map(_ms, phases))}; {times_before}",
            "memory before, highest, after (MiB)": ", ".join(
                f"{size / MIB:.0f}" for size in (before.memory, highest, after.memory)
            ),
            "ended by": ", ".join(f"{name} {count}" for name, count in limits.items() if count),
            "attackers saw": ", ".join(f"{why} {count}" for why, count in sorted(ends.items())),
        },
        failures,
    )


def _wait_back(attacked: Attacked, before: State) -> list[str]:
    """Wait until sockets and descriptors are as they were; return what is left."""

    def is_back() -> bool:
        now = attacked.state()
        return now.sockets == before.sockets and now.descriptors <= before.descriptors

    try:
        wait_until(is_back, "return to the state before")
    except TimeoutError:
        return [f"{before} before the attack, {attacked.state()} long after it"]
    return []


def p99(times: Sequence[float]) -> float:
    """Return the time within which 99 of 100 were answered; NaN for none, as a short phase may have."""
    if not times:
        return math.nan
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


def _config(control: str, attack: Attack) -> dict[str, Any]:
    listener = {"port": 0, "address": "127.0.0.1", "task_processor": "main", "backlog": 4096}
    return {
        "components_manager": {
            "task_processors": {
                "main": {"worker_threads": WORKERS},
                "fs-task-processor": {"worker_threads": 1},
            },
            "default_task_processor": "main",
            "components": {
                "server": {
                    "control-socket": control,
                    "listener": {**listener, **attack.listener},
                    **attack.server,
                },
                "logging": {
                    "fs-task-processor": "fs-task-processor",
                    "loggers": {"default": {"file_path": "@null", "level": "warning"}},
                },
                "dynamic-config-fallbacks": {"fallback-path": "dynamic.json"},
                "websocket-handler": {"path": "/chat", "task_processor": "main", **attack.handler},
            },
        }
    }

"""One attack: honest clients before, beside and after the attackers, and what is asked of the service.

Bars. No honest client is cut off or misses an answer, whatever happens. The limits that are there for the
attack have ended somebody. Memory stays within what the options promise. Afterwards sockets, descriptors
and memory are back. With ``timed`` the answers to honest clients take at p99 at most twice as long as
before: as they took while the same attackers were at another service of the same machine. Two thousand
clients take much of a small machine from everybody who works on it, honest clients and workers alike;
what the service lets them do is what is added when they turn to it.
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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mpchat.ipc.control import ask
from mpchat.testsuite.service import Service, wait_until
from tests.attacks.attackers import Plan
from tests.attacks.kinds import Attack
from tests.kit.certificates import Certificates

ROOT = Path(__file__).parent.parent.parent
WORKERS = 2
MIB = 1024 * 1024
_KEPT = 16 * MIB
"""What a worker's allocator keeps for its next messages (mpchat/linux/allocator.py)."""
_SLACK = 4 * MIB
"""Of a process: pages that hold something else beside what was freed."""
_PAUSE = 0.1
"""Seconds between an honest client's messages: far less often than any limit allows."""
_MAX_RATIO = 2.0
"""Times the p99 before."""
_MIN_SECONDS = 0.0005
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

    def __init__(self, folder: Path, attack: Attack, certificates: Certificates) -> None:
        folder.mkdir()
        self._control = str(folder / "control.sock")
        tls = {"tls": certificates.ec.options} if attack.tls else {}
        config = _config(self._control, attack, tls)
        (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
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

    def close(self) -> None:
        self.service.close()

    def status(self) -> dict[str, Any]:
        return ask(self._control, {"verb": "status"})

    def state(self) -> State:
        status = self.status()
        pids = [worker["pid"] for worker in status["workers"]]
        return State(
            status["totals"]["sockets"],
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            sum(map(_resident, pids)),
        )

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Note the workers' memory twice a second while the block runs.

        Nothing else: to ask for the status has the kernel go through all pages of all workers, and they
        wait for it when they need more.
        """
        pids = [worker["pid"] for worker in self.status()["workers"]]
        over = threading.Event()
        sizes: list[int] = []

        def watch() -> None:
            while not over.wait(0.5):
                sizes.append(sum(map(_resident, pids)))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield sizes
        finally:
            over.set()
            thread.join()
            sizes.append(sum(map(_resident, pids)))


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process has, shared ones included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Phase:
    """A stretch of time, by the system's monotonic clock."""

    begun: float
    ended: float

    def p99(self, answers: Sequence[tuple[float, float]]) -> float:
        """Return the p99 of those answers, each with the time of its question, that it has."""
        return p99([took for at, took in answers if self.begun <= at < self.ended])


def run(attack: Attack, folder: Path, scale: Scale) -> Outcome:
    """Attack a service in this folder."""
    certificates = Certificates(folder)
    with ExitStack() as stack:
        attacked = stack.enter_context(closing(Attacked(folder / "attacked", attack, certificates)))
        arguments = [str(attacked.service.port), str(scale.honest), str(_PAUSE)]
        if attack.tls:
            arguments.append(str(certificates.ca))
        honest = stack.enter_context(closing(Crowd("honest", *arguments)))
        # What begins lazily has begun.
        time.sleep(scale.seconds / 5)
        before = attacked.state()
        quiet = elsewhere = _rest(scale)
        if scale.timed:
            another = closing(Attacked(folder / "other", attack, certificates))
            with another as other, attacked.watched():
                elsewhere, _ends = _attack(other, attack, scale, certificates)
        with attacked.watched() as sizes:
            beside, ends = _attack(attacked, attack, scale, certificates)
        failures = _wait_back(attacked, before)
        limits = attacked.status()["limits"]
        afterwards = _rest(scale)
        after = attacked.state()
        answers = [
            (float(at), float(took)) for at, took in map(str.split, honest.finish().splitlines())
        ]
    times = [phase.p99(answers) for phase in (quiet, elsewhere, beside, afterwards)]
    highest = max(sizes)
    allowed = before.memory + WORKERS * _KEPT + scale.attackers * attack.each
    if highest > allowed:
        failures.append(f"memory rose to {highest / MIB:.0f} MiB, promised are {allowed / MIB:.0f}")
    if after.memory > before.memory + WORKERS * (_KEPT + _SLACK):
        failures.append(f"memory was {before.memory / MIB:.0f} and is {after.memory / MIB:.0f} MiB")
    most = _MAX_RATIO * max(times[1], _MIN_SECONDS)
    if scale.timed and not times[2] <= most:
        failures.append(f"the p99 was {_ms(times[2])}, and {_ms(most)} is the most")
    return Outcome(
        {
            "p99 alone, attackers elsewhere, here, gone": ", ".join(map(_ms, times)),
            "times": f"{times[2] / times[1]:.1f}",
            "memory before, highest, after (MiB)": ", ".join(
                f"{size / MIB:.0f}" for size in (before.memory, highest, after.memory)
            ),
            "ended by": ", ".join(f"{name} {count}" for name, count in limits.items() if count),
            "attackers saw": ", ".join(f"{why} {count}" for why, count in sorted(ends.items())),
        },
        failures,
    )


def _rest(scale: Scale) -> Phase:
    begun = time.monotonic()
    time.sleep(scale.seconds)
    return Phase(begun, time.monotonic())


def _attack(
    victim: Attacked, attack: Attack, scale: Scale, certificates: Certificates
) -> tuple[Phase, dict[str, int]]:
    """Have the attackers at this service; return when that was, and what they saw of their ends."""
    begun = time.monotonic()
    opening = scale.attackers / scale.seconds * 4
    back = 3.0 if scale.timed else 0.1
    port = victim.service.port
    ca = str(certificates.ca) if attack.tls else ""
    plan = Plan(port, attack.kind, scale.attackers, opening, back, yields=scale.timed, ca=ca)
    with closing(Crowd("attackers", plan.to_argument())) as attackers:
        time.sleep(max(0.0, begun + scale.seconds - time.monotonic()))
        wait_until(
            lambda: all(victim.status()["limits"][name] for name in attack.limits),
            f"victim of {', '.join(attack.limits)}",
        )
        ends = json.loads(attackers.finish())
    return Phase(begun, time.monotonic()), ends


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


def _config(control: str, attack: Attack, tls: dict[str, Any]) -> dict[str, Any]:
    listener = {"port": 0, "address": "127.0.0.1", "task_processor": "main", "backlog": 4096, **tls}
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

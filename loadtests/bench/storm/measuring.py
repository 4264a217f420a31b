"""The phases of one storm: quiet, its beginning, the storm, and what comes after it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..load import Load, LoadFailed, compile_command
from ..running import Place, Running, running
from ..servers import OURS

SOURCES = [Path(__file__).with_name("client.c"), Path(__file__).parents[1] / "tls.c"]
CONNECTED = 50
RATE = 1_000
"""Messages a second of all who are connected"""
PRIORITY = 10
"""Of SCHED_FIFO, for those who are connected"""
TIMES = 5
"""A storm brings so many times what the worker takes"""
GENERATORS = 3
"""Processes that a storm comes from: each may have so many files, and attempts that wait need many"""
PROBES = 20
"""Attempts a second after a storm"""
LIMITED = """\
        congestion-control:
            only-rtc: false
        dynamic-config:
            defaults:
                USERVER_RPS_CCONTROL_ENABLED: true
                USERVER_RPS_CCONTROL:
                    min-limit: 10
                    up-rate-percent: 2
                    down-rate-percent: 2
                    overload-on-seconds: 3
                    overload-off-seconds: 3
                    up-level: 2
                    down-level: 1
                    load-limit-percent: 5
                    start-limit-factor: 0.9
                USERVER_TASK_PROCESSOR_QOS:
                    default-service:
                        default-task-processor:
                            wait_queue_overload:
                                action: ignore
                                length_limit: 5000
                                time_limit_us: 3000
                                sensor_time_limit_us: 5000
"""
"""What a service with the limiter has in its config beyond one without it."""

Phase = dict[str, Any]
"""For each second, what those who are connected saw (``windows``), and those who came (``seconds``)"""


@dataclass(frozen=True)
class Kind:
    """What a storm's clients ask for.

    Attributes:
        name: As it is printed.
        path: Where.
        answer: What of the client's counts says that the worker did it.
        at_once: How many keep the worker busy without one that waits for long.
    """

    name: str
    path: str
    answer: str
    at_once: int


KINDS = (
    Kind("handshakes", "/chat", "taken", 64),
    Kind("requests of 20 ms", "/burning", "served", 4),
)


@dataclass(frozen=True)
class Clients:
    """How to run the clients.

    Attributes:
        program: What they are.
        core: Where they run.
        first: Whether those who are connected may come first, by SCHED_FIFO.
    """

    program: Path
    core: int
    first: bool


@dataclass(frozen=True)
class How:
    """How to run a storm; times are in seconds.

    Attributes:
        clients: The clients.
        folder: For the services' files.
        place: Where the service runs.
        quiet: Time of each measurement without a storm.
        onset: Time from the storm's beginning in which the limit is sought.
        storm: Time of the storm after that.
        after: Time after the storm.
    """

    clients: Clients
    folder: Path
    place: Place
    quiet: int
    onset: int
    storm: int
    after: int


def compile_client(program: Path, library: Iterable[str] = ()) -> None:
    """Make ``program``, the client, with what that library is for.

    Raises:
        LoadFailed: There is no compiler.
    """
    try:
        subprocess.run(compile_command(program, library, SOURCES), check=True)
    except FileNotFoundError as error:
        text = f"{error.filename}: no such C compiler; the clients need one, named in CC"
        raise LoadFailed(text) from error


def may_come_first() -> bool:
    """Tell whether this machine gives SCHED_FIFO to us: to root, mostly."""
    try:
        command = ["chrt", "--fifo", str(PRIORITY), "true"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Sides:
    """A service, who is connected to it, and who comes."""

    def __init__(self, connected: Load, storm: list[Load]) -> None:
        self.connected = connected
        self.storm = storm
        self._coming: list[Load] = []

    def measure(self, seconds: int) -> Phase:
        """Return what those who are connected see in each second."""
        windows = []
        for _ in range(seconds):
            self.connected.order("1")
            windows.append(self.connected.answer())
        return {"windows": windows}

    def come(self, seconds: int, rate: float) -> None:
        """Have so many attempts a second begin; -N: another one whenever one of N is answered."""
        self._coming = self.storm if rate > PROBES else self.storm[:1]
        for load in self._coming:
            load.order(f"{seconds} {rate / len(self._coming):g}")

    def came(self) -> list[dict[str, int]]:
        """Return what each of these seconds saw."""
        answers = [load.answer() for load in self._coming]
        return [
            {name: sum(second[name] for second in seconds) for name in seconds[0]}
            for seconds in zip(*answers, strict=True)
        ]


@contextmanager
def both_sides(
    target: Running, clients: Clients, words: list[str], storms: list[str]
) -> Iterator[Sides]:
    """Connect those who are connected, with further words, and have a generator of each storm ready."""
    first = ["chrt", "--fifo", str(PRIORITY)] if clients.first else []
    client = [str(clients.program), str(target.port)]
    connected = [*first, *client, "connected", str(CONNECTED), str(RATE), *words]
    commands = [connected, *([*client, "storm", storm] for storm in storms)]
    loads = [Load(target.server.name, command, clients.core) for command in commands]
    with ExitStack() as stack:
        for load in loads:
            stack.enter_context(load).wait_connected()
        yield Sides(loads[0], loads[1:])


@contextmanager
def _service(kind: Kind, how: How, name: str, further: str) -> Iterator[Sides]:
    folder = how.folder / name
    folder.mkdir()
    with (
        running(OURS, folder, how.place, setting="storm", further=further) as target,
        both_sides(target, how.clients, [], [kind.path] * GENERATORS) as sides,
    ):
        yield sides


def alone(kind: Kind, how: How) -> float:
    """Return how many of these a worker does in a second, when nobody else is there."""
    with _service(kind, how, f"{kind.path[1:]} alone", "") as sides:
        sides.come(1 + how.quiet, -kind.at_once)
        seconds = sides.came()[1:]
    return float(sum(second[kind.answer] for second in seconds) / len(seconds))


def phases(kind: Kind, how: How, capacity: float, *, limited: bool) -> dict[str, Phase]:
    """Run a storm on a new service, and return what was seen in each phase."""
    name = f"{kind.path[1:]} {'limited' if limited else 'free'}"
    with _service(kind, how, name, LIMITED if limited else "") as sides:
        sides.measure(1)
        found = {"quiet": sides.measure(how.quiet)}
        sides.come(how.onset + how.storm, TIMES * capacity)
        found["onset"] = sides.measure(how.onset)
        found["storm"] = sides.measure(how.storm)
        came = sides.came()
        found["onset"]["seconds"] = came[: how.onset]
        found["storm"]["seconds"] = came[how.onset :]
        sides.come(how.after, PROBES)
        found["after"] = sides.measure(how.after)
        found["after"]["seconds"] = sides.came()
    return found

"""What orders rooms: mpchat's engines, and Django Channels; each with its hosts and what is between them.

Rules. One worker on each host. Shipped defaults, except what stands here. The engine ``host`` has one
host, with both ends of each room in its worker.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ..load import LoadFailed
from ..processes import cpu_ns
from ..running import MPCHAT_CONFIG
from .network import Network, Place
from .programs import DEADLINE, Program, free_port, listens, running

PEERS = Path(__file__).with_name("peers")
NATS = Path(sys.executable).parent / "nats-server"
STREAM_BYTES = 256 * 1024 * 1024
BROKER = "mpchat: broker"

Address = tuple[str, int]


@dataclass
class Hosts:
    """An engine that runs.

    Attributes:
        name: The engine's.
        ends: Where publishers connect, and where those who listen do.
        programs: One for each host.
        between: NATS, a cluster of it, or Redis.
        monitors: Where each NATS tells what it has done.
        worker: What the command lines of workers begin with.
    """

    name: str
    ends: tuple[Address, Address]
    programs: list[Program]
    between: list[Program] = field(default_factory=list)
    monitors: list[str] = field(default_factory=list)
    worker: str = "mpchat: worker"

    def cpu(self) -> dict[str, int]:
        """Return the CPU time of each part, in nanoseconds.

        ``out`` and ``in`` are the brokers of the publishers' host and of the other one.
        """
        first, last = self.programs[0], self.programs[-1]
        found = {
            "out": cpu_ns(first.pids(BROKER)),
            "workers": sum(cpu_ns(one.pids(self.worker)) for one in self.programs),
            "between": sum(cpu_ns(one.pids()) for one in self.between),
            "all": sum(cpu_ns(one.pids()) for one in (*self.programs, *self.between)),
        }
        if last is not first:
            found["in"] = cpu_ns(last.pids(BROKER))
        return found

    def messages(self) -> tuple[int, int]:
        """Return how many messages NATS has taken from clients and sent to them so far."""
        found = [_asked(monitor, "varz") for monitor in self.monitors]
        return sum(one["in_msgs"] for one in found), sum(one["out_msgs"] for one in found)


Start = Callable[[Network, Path], AbstractContextManager[Hosts]]


@dataclass(frozen=True)
class Engine:
    """One of them.

    Attributes:
        name: As it is printed.
        start: Runs it.
        restarts: Whether the restart of a broker is measured.
    """

    name: str
    start: Start
    restarts: bool = False


def _asked(monitor: str, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{monitor}/{what}", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def config_of(place: Place, port: int, rooms: dict[str, Any]) -> dict[str, Any]:
    """Return the static config of a host."""
    config: dict[str, Any] = yaml.safe_load(MPCHAT_CONFIG.format(port=port, workers=1))
    components = config["components_manager"]["components"]
    components["server"]["listener"]["address"] = place.address
    components["rooms"] = rooms
    components["room-handler"] = {"path": "/rooms/{room}"}
    components["many-handler"] = {"path": "/many"}
    return config


@contextmanager
def _mpchat(place: Place, folder: Path, rooms: dict[str, Any]) -> Iterator[tuple[Program, Address]]:
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "static.yaml").write_text(yaml.safe_dump(config_of(place, port, rooms)))
    command = [sys.executable, "-m", "mpchat", "serve", "-c", "static.yaml"]
    command += ["--app", "mpchat_many:components"]
    environment = {"PYTHONPATH": str(PEERS)}
    with running(place, command, folder, lambda log: ": ws://" in log, environment) as program:
        yield program, (place.address, port)


def _patient(rooms: dict[str, Any]) -> dict[str, Any]:
    # A question about each of ten thousand rooms waits for a new broker.
    return rooms | {"publish-timeout": "60s"}


@contextmanager
def host(network: Network, folder: Path) -> Iterator[Hosts]:
    """Run one host."""
    with _mpchat(network.one, folder / "one", _patient({})) as (program, end):
        yield Hosts("host", (end, end), [program])


@dataclass(frozen=True)
class Servers:
    """Servers of NATS.

    Attributes:
        programs: They.
        urls: Where clients connect.
        monitors: Where they tell what they have done.
    """

    programs: list[Program]
    urls: list[str]
    monitors: list[str]


@contextmanager
def nats_servers(place: Place, folder: Path, number: int) -> Iterator[Servers]:
    """Run so many servers of NATS, which are a cluster if they are several."""
    ports = [(free_port(), free_port(), free_port()) for _ in range(number)]
    routes = [f"nats://{place.address}:{port}" for _, _, port in ports]
    monitors = [f"http://{place.address}:{port}" for _, port, _ in ports]
    with ExitStack() as stack:
        programs = [
            stack.enter_context(_nats_server(place, folder / f"n{index}", own, routes))
            for index, own in enumerate(ports)
        ]
        if number > 1:
            _wait_for_leader(monitors)
        urls = [f"nats://{place.address}:{port}" for port, _, _ in ports]
        yield Servers(programs, urls, monitors)


@contextmanager
def _nats_server(
    place: Place, folder: Path, ports: tuple[int, int, int], routes: list[str]
) -> Iterator[Program]:
    folder.mkdir(parents=True)
    clients, monitoring, cluster = ports
    lines = [
        f"server_name: {folder.name}",
        f"listen: {place.address}:{clients}",
        f"http: {place.address}:{monitoring}",
        f'jetstream {{ store_dir: "{folder / "store"}", max_mem: 64MB, max_file: 1GB }}',
    ]
    if len(routes) > 1:
        listed = json.dumps(routes)
        where = f"{place.address}:{cluster}"
        lines.append(f"cluster {{ name: C, listen: {where}, routes: {listed} }}")
    (folder / "nats.conf").write_text("\n".join(lines) + "\n")
    command = [str(NATS), "-c", "nats.conf"]
    with running(place, command, folder, lambda log: "Server is ready" in log) as program:
        yield program


def _wait_for_leader(monitors: list[str]) -> None:
    """Wait until all servers of a cluster know who leads."""
    end = time.monotonic() + DEADLINE
    while not all(_asked(monitor, "jsz")["meta_cluster"].get("leader") for monitor in monitors):
        if time.monotonic() > end:
            raise LoadFailed("the cluster of NATS has no leader")
        time.sleep(0.05)


@contextmanager
def nats(network: Network, folder: Path, *, replicas: int = 1) -> Iterator[Hosts]:
    """Run two hosts, and as many servers of NATS as keep the stream."""
    with ExitStack() as stack:
        servers = stack.enter_context(nats_servers(network.between, folder / "nats", replicas))
        stream = {"servers": servers.urls, "replicas": replicas, "max-bytes": STREAM_BYTES}
        rooms = _patient({"engine": "nats", "nats": stream})
        hosts = [
            stack.enter_context(_mpchat(where, folder / name, rooms))
            for name, where in (("one", network.one), ("two", network.two))
        ]
        yield Hosts(
            f"nats, R{replicas}",
            (hosts[0][1], hosts[1][1]),
            [program for program, _ in hosts],
            servers.programs,
            servers.monitors,
        )


@contextmanager
def channels(network: Network, folder: Path) -> Iterator[Hosts]:
    """Run two hosts of Django Channels, and a Redis."""
    with ExitStack() as stack:
        place, port = network.between, free_port()
        (folder / "redis").mkdir(parents=True)
        command = ["redis-server", "--bind", place.address, "--port", str(port), "--save", ""]
        command += ["--protected-mode", "no"]
        started = running(
            place, command, folder / "redis", lambda _: listens((place.address, port))
        )
        redis = stack.enter_context(started)
        url = f"redis://{place.address}:{port}"
        ends = [(where.address, free_port()) for where in (network.one, network.two)]
        hosts = [
            stack.enter_context(_uvicorn(where, folder / name, end, url))
            for name, where, end in zip(
                ("one", "two"), (network.one, network.two), ends, strict=True
            )
        ]
        yield Hosts("Channels, Redis", (ends[0], ends[1]), hosts, [redis], worker="")


@contextmanager
def _uvicorn(place: Place, folder: Path, end: Address, redis: str) -> Iterator[Program]:
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "channels_rooms:app"]
    command += ["--host", end[0], "--port", str(end[1]), "--loop", "uvloop", "--http", "httptools"]
    command += ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
    command += ["--log-level", "warning"]
    environment = {"REDIS": redis}
    with running(place, command, folder, lambda _: listens(end), environment) as program:
        yield program


CHANNELS = Engine("Channels, Redis", channels)
ENGINES = (
    Engine("host", host, restarts=True),
    Engine("nats, R1", nats, restarts=True),
    Engine("nats, R3", partial(nats, replicas=3)),
    CHANNELS,
)

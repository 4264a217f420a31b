"""One sample: one server under one load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .load import Load, LoadFailed
from .rows import EACH_READY, EACH_SIZE, ONE_READY, ONE_SIZE, Row
from .running import Place, Running, running
from .servers import PING_SECONDS, Server

WARM_UP_SECONDS = 0.1
FLOOD_SECONDS = 3.0
FURTHER_WORKERS = 4
SETTLE_SECONDS = 0.5
HOUR = 3600
PINGED = 0.9  # of the pings that are due, when a server pings all its connections


@dataclass(frozen=True)
class Sample:
    """What one round found for one server in one row.

    Attributes:
        row: The row's name.
        server: The server's name.
        round: Ratios are taken between samples of the same round.
        value: In the row's unit.
        p50_us: Median time from sending a message to its answer, where messages are measured; in rooms
            to its arrival at the last member.
        p99_us: The 99th percentile of that.
        per_second: Messages or handshakes per second.
        client_us: CPU time of the load client for each of them.
        wire_bytes: Payload of an answer as it came, compressed where it was compressed.
    """

    row: str
    server: str
    round: int
    value: float
    p50_us: float = 0
    p99_us: float = 0
    per_second: int = 0
    client_us: float = 0
    wire_bytes: float = 0


@dataclass(frozen=True)
class Client:
    """How to start the load client: its program, and the core that it has for itself."""

    program: str
    core: int

    def connect(
        self, row: Row, target: Running, connections: int | None = None, *, nice: bool = False
    ) -> Load:
        """Return a load for a ``with`` statement."""
        return self._load(target, row.arguments(target.server, connections), nice=nice)

    def connect_beside(self, row: Row, target: Running) -> Load:
        """Return the load of echoes beside a room."""
        return self._load(target, row.beside(target.server))

    def _load(self, target: Running, arguments: list[str], *, nice: bool = False) -> Load:
        command = [self.program, *arguments, str(target.port)]
        return Load(target.server.name, command, self.core, nice=nice)


def cpu_sample(row: Row, target: Running, client: Client, number: int, seconds: float) -> Sample:
    """Measure the CPU time of a message or of a handshake, or latency."""
    with client.connect(row, target) as load:
        load.wait_connected()
        load.run(WARM_UP_SECONDS)
        before = target.cpu_ns()
        outcome = load.run(seconds)
        used = target.cpu_ns() - before
    value = used / outcome.done / 1000 if row.cpu else outcome.p99_us
    return Sample(
        row.name,
        target.server.name,
        number,
        round(value, 3),
        outcome.p50_us,
        outcome.p99_us,
        round(outcome.done / outcome.seconds),
        outcome.client_cpu_us,
        outcome.wire_bytes,
    )


def rest_samples(row: Row, targets: list[Running], client: Client, rounds: int) -> Iterator[Sample]:
    """Measure the CPU time of an hour of one connection at rest, of all servers at once.

    A round is as long as the time between two pings.
    """
    with ExitStack() as stack:
        loads = [stack.enter_context(client.connect(row, target)) for target in targets]
        for load in loads:
            load.wait_connected()
        pings = [0] * len(targets)
        for number in range(rounds):
            before = [target.cpu_ns() for target in targets]
            for load in loads:
                load.begin(PING_SECONDS)
            outcomes = [load.end() for load in loads]
            for index, (target, outcome) in enumerate(zip(targets, outcomes, strict=True)):
                pings[index] += outcome.done
                used = target.cpu_ns() - before[index]
                value = used / 1e6 / row.connections / outcome.seconds * HOUR
                yield Sample(row.name, target.server.name, number, round(value, 3))
    for target, seen in zip(targets, pings, strict=True):
        if seen < PINGED * row.connections * rounds:
            raise LoadFailed(f"{target.server.name} pinged {seen} times in {rounds} rounds")


def memory_sample(row: Row, target: Running, client: Client, number: int) -> Sample:
    """Measure memory per connection, without what the first connection of a process costs once."""
    with client.connect(row, target, connections=1) as load:
        load.wait_connected()
        if row.kind in {"echoed", "held"}:
            load.run(WARM_UP_SECONDS)
    time.sleep(SETTLE_SECONDS)
    before = target.pss_kib()
    with client.connect(row, target) as load:
        load.wait_connected()
        if row.kind in {"held", "never-read"}:
            before = target.pss_kib()
        if row.kind != "idle":
            load.run(FLOOD_SECONDS)
        time.sleep(SETTLE_SECONDS)
        held = target.pss_kib() - before
    return Sample(row.name, target.server.name, number, round(held / row.connections, 3))


def worker_samples(server: Server, folder: Path, place: Place, number: int) -> list[Sample]:
    """Measure what a service of one worker takes until it is ready, and each further worker."""
    seconds, kib = [], []
    for workers in (1, 1 + FURTHER_WORKERS):
        own = folder / f"{number} {workers}"
        own.mkdir()
        with running(server, own, place, workers=workers) as target:
            time.sleep(SETTLE_SECONDS)
            seconds.append(target.ready_seconds)
            kib.append(target.pss_kib())
    found = {
        ONE_READY: seconds[0] * 1000,
        EACH_READY: (seconds[1] - seconds[0]) * 1000 / FURTHER_WORKERS,
        ONE_SIZE: kib[0] / 1024,
        EACH_SIZE: (kib[1] - kib[0]) / 1024 / FURTHER_WORKERS,
    }
    return [Sample(row, server.name, number, round(value, 3)) for row, value in found.items()]

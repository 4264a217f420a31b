"""Samples of rooms: deliveries, messages to two workers, echoes beside a room, memberships."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from .load import Load, LoadFailed
from .measuring import SETTLE_SECONDS, WARM_UP_SECONDS, Client, Sample
from .rows import Row
from .running import Running

BESIDE_SECONDS = 2.0
FEW_MEMBERSHIPS = 1_000
PLACING_SECONDS = 30.0


class Members:
    """A server with the members of a room, who stay for all rounds."""

    def __init__(self, row: Row, target: Running, load: Load) -> None:
        self.load = load
        self._row = row
        self._target = target
        self._pid: int | None = None

    def gather(self) -> None:
        """Wait until they are connected."""
        self.load.wait_connected()
        if self._row.has_publisher_apart(self._target.server):
            self._place_publisher()

    def sample(self, number: int, seconds: float) -> Sample:
        """Measure the CPU time of a delivery, or of a message."""
        self.load.run(WARM_UP_SECONDS)
        before = self._cpu_ns()
        outcome = self.load.run(seconds)
        used = self._cpu_ns() - before
        return Sample(
            self._row.name,
            self._target.server.name,
            number,
            round(used / outcome.done / self._row.deliveries / 1000, 3),
            outcome.p50_us,
            outcome.p99_us,
            round(outcome.done / outcome.seconds),
            outcome.client_cpu_us,
            outcome.wire_bytes,
        )

    def _cpu_ns(self) -> int:
        return self._target.cpu_ns() if self._pid is None else self._target.cpu_ns_of(self._pid)

    def _place_publisher(self) -> None:
        """Connect the publisher again and again, until it is in another process than the members."""
        if self._row.kind == "delivery":
            self._target.scale(2)
        before = self._target.clients()
        end = time.monotonic() + PLACING_SECONDS
        while True:
            self.load.connect_publisher()
            after = self._target.clients()
            if before.items() <= after.items():
                break
            if time.monotonic() > end:
                raise LoadFailed(f"{self._target.server.name}: all clients are in one process")
        if self._row.kind == "delivery":
            (self._pid,) = before


def room_samples(
    row: Row, targets: list[Running], client: Client, rounds: int, seconds: float
) -> Iterator[Sample]:
    """Measure messages to a room; all servers have their members all the time, and take turns."""
    with ExitStack() as stack:
        rooms = []
        for target in targets:
            rooms.append(Members(row, target, stack.enter_context(client.connect(row, target))))
            rooms[-1].gather()
        for number in range(rounds):
            for room in rooms:
                yield room.sample(number, seconds)


def beside_samples(
    row: Row,
    targets: list[Running],
    client: Client,
    rounds: int,
    *,
    seconds: float = BESIDE_SECONDS,
) -> Iterator[Sample]:
    """Measure the latency of echoes beside a room that is always being written to.

    Its members' client yields to the one that measures: their core is the same.
    """
    with ExitStack() as stack:
        both = []
        for target in targets:
            room = stack.enter_context(client.connect(row, target, nice=True))
            room.wait_connected()
            echoes = stack.enter_context(client.connect_beside(row, target))
            echoes.wait_connected()
            both.append((target, room, echoes))
            room.run(WARM_UP_SECONDS)
        for number in range(rounds):
            for target, room, echoes in both:
                room.begin(seconds + 2 * SETTLE_SECONDS)
                time.sleep(SETTLE_SECONDS)
                outcome = echoes.run(seconds)
                room.end()
                yield Sample(
                    row.name,
                    target.server.name,
                    number,
                    outcome.p99_us,
                    outcome.p50_us,
                    outcome.p99_us,
                    round(outcome.done / outcome.seconds),
                    outcome.client_cpu_us,
                )


def joined_sample(
    row: Row, target: Running, client: Client, number: int, *, few: int = FEW_MEMBERSHIPS
) -> Sample:
    """Measure the memory of a membership, of connections that are there before.

    Each of them has echoed one message, so that what the first one takes is not counted.
    """
    further = row.connections - few
    with (
        client.connect(row, target, few) as first,
        client.connect(row, target, further) as many,
    ):
        for load in (first, many):
            load.wait_connected()
            load.run(WARM_UP_SECONDS)
        first.run(WARM_UP_SECONDS)
        time.sleep(SETTLE_SECONDS)
        before = target.pss_kib()
        many.run(WARM_UP_SECONDS)
        time.sleep(SETTLE_SECONDS)
        held = target.pss_kib() - before
    return Sample(row.name, target.server.name, number, round(held * 1024 / further, 3))

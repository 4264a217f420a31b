"""Rows measured: which ones, and of each its servers in turns, sample by sample."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .measuring import Client, Sample, cpu_sample, memory_sample, rest_samples
from .rooms import beside_samples, joined_sample, room_samples
from .rows import Row
from .running import Place, Running, running
from .servers import Server

Choice = TypeVar("Choice", bound=Row | Server)


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Of rows whose servers run side by side.
        rounds_of_memory: Of rows that start a server for each sample.
        seconds: Time of load for each server in a round.
    """

    rounds: int
    rounds_of_memory: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """A row that is to be measured: of which servers, in which folder, by what, and for how long."""

    row: Row
    servers: list[Server]
    folder: Path
    client: Client
    place: Place
    effort: Effort

    def run(self, server: Server, name: str) -> AbstractContextManager[Running]:
        """Run a server as the row wants it, in a folder of that name."""
        row, own = self.row, self.new_folder(name)
        setting, large, workers = row.setting, row.large, row.workers
        return running(server, own, self.place, setting=setting, large=large, workers=workers)

    def new_folder(self, name: str) -> Path:
        """Make a folder for a server."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder

    @contextmanager
    def run_all(self) -> Iterator[list[Running]]:
        """Run all servers of the row side by side."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.run(server, server.name)) for server in self.servers]


def measured(task: Task) -> list[Sample]:
    """Measure a row, and tell on the terminal how that goes."""
    begun = time.monotonic()
    print(task.row.name, end=" ", file=sys.stderr, flush=True)
    samples = [*_measurement(task.row)(task)]
    print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return samples


def _measurement(row: Row) -> Callable[[Task], Iterator[Sample]]:
    if row.in_room:
        return _room_row
    others = {"rest": _rest_row, "beside": _beside_row}
    return _memory_row if row.memory or row.kind == "joined" else others.get(row.kind, _cpu_row)


def _cpu_row(task: Task) -> Iterator[Sample]:
    """Measure CPU time: all servers run, and take turns in every round."""
    with task.run_all() as up:
        yield from _dotted(
            cpu_sample(task.row, target, task.client, number, task.effort.seconds)
            for number in range(task.effort.rounds)
            for target in up
        )


def _rest_row(task: Task) -> Iterator[Sample]:
    """Measure CPU time at rest: all servers run, and rest at once."""
    with task.run_all() as up:
        yield from _dotted(rest_samples(task.row, up, task.client, task.effort.rounds))


def _room_row(task: Task) -> Iterator[Sample]:
    """Measure messages to a room: all servers run, keep their members, and take turns in every round."""
    with task.run_all() as up:
        yield from _dotted(
            room_samples(task.row, up, task.client, task.effort.rounds, task.effort.seconds)
        )


def _beside_row(task: Task) -> Iterator[Sample]:
    """Measure latency beside a room, likewise."""
    with task.run_all() as up:
        yield from _dotted(beside_samples(task.row, up, task.client, task.effort.rounds))


def _memory_row(task: Task) -> Iterator[Sample]:
    """Measure memory: a server is started for each sample."""
    sample = joined_sample if task.row.kind == "joined" else memory_sample
    for number in range(task.effort.rounds_of_memory):
        print(".", end="", file=sys.stderr, flush=True)
        for server in task.servers:
            with task.run(server, f"{server.name} {number}") as target:
                yield sample(task.row, target, task.client, number)


def _dotted(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Pass samples on, with a dot on the terminal for each round."""
    rounds: set[int] = set()
    for sample in samples:
        if sample.round not in rounds:
            rounds.add(sample.round)
            print(".", end="", file=sys.stderr, flush=True)
        yield sample


def chosen(everything: Iterable[Choice], wanted: list[str] | None, quick: bool) -> list[Choice]:
    """Return what is asked for by name, else what belongs to a quick or to a full run.

    Raises:
        SystemExit: Nothing has such a name.
    """
    if wanted is None:
        return [item for item in everything if item.quick or not quick]
    found = [item for item in everything if any(part in item.name for part in wanted)]
    if not found:
        raise SystemExit(f"nothing is called {wanted}; there are {[i.name for i in everything]}")
    return found


def allow_open_files(number: int) -> None:
    """Raise the limit of open files, which servers and client inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < number:
        raise SystemExit(f"ulimit -Hn is {most}; the benchmark opens up to {number} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, most))

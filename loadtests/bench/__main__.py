"""``make bench`` and ``make bench-quick``: measure, print the tables, write the pages."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import environment, node
from .load import ZLIB, LoadFailed, compile_client
from .measuring import (
    Client,
    Sample,
    cpu_sample,
    memory_sample,
    rest_samples,
    worker_samples,
)
from .page import page, with_paragraph
from .plot import plot
from .report import tables
from .results import Document, Run, dumped, merged
from .rooms import beside_samples, joined_sample, room_samples
from .rows import OF_WORKERS, ROWS, Row
from .running import (
    DEFLATE,
    LARGE_MESSAGES,
    MPCHAT_CONFIG,
    ROOMS,
    Place,
    Running,
    running,
)
from .servers import BASE, NODE, OURS, REDIS, SERVERS, UPPER, Server

BENCH = Path(__file__).parent
MAX_CONNECTIONS = max(row.connections for row in ROWS)


def main() -> int:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and servers, short rounds")
    parser.add_argument("--rows", nargs="*", help="rows whose name contains one of these")
    parser.add_argument("--servers", nargs="*", help="servers, likewise; uvloop TCP is always in")
    parser.add_argument("--rounds", type=int, help="default 7, quick 5; for memory 3 and 1")
    parser.add_argument("--seconds", type=float, help="of load in a round; default 0.6, quick 0.4")
    parser.add_argument("--python", default=sys.executable, help="the servers' interpreter")
    parser.add_argument("--write", type=Path, help="folder for benchmark.md, .json and .svg")
    parser.add_argument(
        "--add",
        action="store_true",
        help="keep that machine's other rows, if they are of the same releases and form",
    )
    parser.add_argument("--again", action="store_true", help="write the pages, measure nothing")
    options = parser.parse_args()
    options.python = os.path.abspath(options.python)  # a link of a venv stays one
    if not options.again:
        try:
            run = measure(options)
        except LoadFailed as error:
            raise SystemExit(str(error)) from error
        print(f"\n{tables(run)}")
    if options.write:
        source = options.write / "benchmark.json"
        document: Document = json.loads(source.read_text())
        write(options.write, document if options.again else merged(document, run, add=options.add))
    return 0


def write(folder: Path, document: Document) -> None:
    """Write the pages, and the paragraph of the README beside their folder."""
    (folder / "benchmark.json").write_text(dumped(document))
    (folder / "benchmark.md").write_text(page(document))
    (folder / "benchmark.svg").write_text(plot(document))
    readme = folder.resolve().parent / "README.md"
    readme.write_text(with_paragraph(readme.read_text(), document))


def measure(options: argparse.Namespace) -> Run:
    """Measure what the options ask for."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two CPUs, one for a server and one for its load")
    allow_open_files(2 * MAX_CONNECTIONS)
    found = environment.found(options.python)
    rows = chosen(ROWS, options.rows, options.quick)
    servers = chosen(SERVERS, options.servers, options.quick)
    servers = [BASE, *(server for server in servers if server is not BASE)]
    missing: dict[str, str] = {}
    if found["mpchat"] == "interpreted":
        servers = [server for server in servers if not server.interpreted]
    if NODE in servers and (why := node.missing()):
        servers.remove(NODE)
        missing[NODE.name] = why
    if environment.redis() is None:
        for server in [server for server in servers if server.redis]:
            servers.remove(server)
            missing[server.name] = f"there is no {REDIS}"
    samples: list[Sample] = []
    place = Place(options.python, str(cores[0]))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        compiled_by = compile_client(Path(name) / "client")
        if not set(ZLIB) <= set(compiled_by):
            missing["compressed messages"] = "zlib.h was not there for the client"
            rows = [row for row in rows if row.setting != "deflate"]
        for what, why in missing.items():
            print(f"Not measured: {what} ({why})", file=sys.stderr)
        fit = {row: [server for server in servers if row.suits(server)] for row in rows}
        client = Client(f"{name}/client", cores[1])
        for row in rows:
            begun = time.monotonic()
            print(row.name, end=" ", file=sys.stderr, flush=True)
            folder = Path(name) / row.name
            task = Task(row, fit[row], folder, client, place, options)
            samples += measurement(row)(task)
            print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
        if workers_wanted(options.rows, options.quick):
            both = Place(options.python, f"{cores[0]},{cores[1]}")
            for number in range(options.rounds or 3):
                samples += worker_samples(OURS, Path(name), both, number)
    return {
        "cpu": environment.cpu(),
        "kernel": f"Linux {platform.release()}",
        **found,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            **found["versions"],
            **(node.versions() if NODE in servers else {}),
            **(environment.redis() or {}),
        },
        "missing": missing,
        "compiler": shlex.join(word.removeprefix(f"{BENCH}/") for word in compiled_by),
        "servers": {
            setting: {s.name: s.shown(setting) for s in servers if s.has(setting)}
            for setting in dict.fromkeys(row.setting for row in rows)
        },
        "static_config.yaml": MPCHAT_CONFIG
        + f"            # above 64 KiB:\n{LARGE_MESSAGES}"
        + f"            # in rows of compressed messages:\n{DEFLATE}"
        + f"        # in rows of rooms:\n{ROOMS}",
        "loads": {
            row.name: {
                server.name: shlex.join(["client", *row.arguments(server), "PORT"])
                for server in fit[row]
            }
            for row in rows
        },
        "upper_us": {row.name: upper_us(row.size) for row in rows if row.suits(UPPER)},
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }


@dataclass(frozen=True)
class Task:
    """A row that is to be measured: of which servers, in which folder, and by what."""

    row: Row
    servers: list[Server]
    folder: Path
    client: Client
    place: Place
    options: argparse.Namespace

    @property
    def rounds(self) -> int:
        """The rounds of a row whose servers run side by side."""
        return self.options.rounds or (5 if self.options.quick else 7)

    @property
    def seconds(self) -> float:
        """The time of load for each server in a round."""
        return self.options.seconds or (0.4 if self.options.quick else 0.6)

    def run(self, server: Server, name: str) -> AbstractContextManager[Running]:
        """Run a server as the row wants it, in a folder of that name."""
        row, own = self.row, new_folder(self.folder, name)
        setting, large, workers = row.setting, row.large, row.workers
        return running(server, own, self.place, setting=setting, large=large, workers=workers)

    @contextmanager
    def run_all(self) -> Iterator[list[Running]]:
        """Run all servers of the row side by side."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.run(server, server.name)) for server in self.servers]


def measurement(row: Row) -> Callable[[Task], Iterator[Sample]]:
    """Return what measures a row."""
    if row.in_room:
        return room_row
    others = {"rest": rest_row, "beside": beside_row}
    return memory_row if row.memory or row.kind == "joined" else others.get(row.kind, cpu_row)


def cpu_row(task: Task) -> Iterator[Sample]:
    """Measure CPU time: all servers run, and take turns in every round."""
    with task.run_all() as up:
        yield from dotted(
            cpu_sample(task.row, target, task.client, number, task.seconds)
            for number in range(task.rounds)
            for target in up
        )


def rest_row(task: Task) -> Iterator[Sample]:
    """Measure CPU time at rest: all servers run, and rest at once."""
    with task.run_all() as up:
        yield from dotted(rest_samples(task.row, up, task.client, task.options.rounds or 7))


def room_row(task: Task) -> Iterator[Sample]:
    """Measure messages to a room: all servers run, keep their members, and take turns in every round."""
    with task.run_all() as up:
        yield from dotted(room_samples(task.row, up, task.client, task.rounds, task.seconds))


def beside_row(task: Task) -> Iterator[Sample]:
    """Measure latency beside a room, likewise."""
    with task.run_all() as up:
        yield from dotted(beside_samples(task.row, up, task.client, task.rounds))


def memory_row(task: Task) -> Iterator[Sample]:
    """Measure memory: a server is started for each sample."""
    sample = joined_sample if task.row.kind == "joined" else memory_sample
    for number in range(task.options.rounds or (1 if task.options.quick else 3)):
        print(".", end="", file=sys.stderr, flush=True)
        for server in task.servers:
            with task.run(server, f"{server.name} {number}") as target:
                yield sample(task.row, target, task.client, number)


def dotted(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Pass samples on, with a dot on the terminal for each round."""
    rounds: set[int] = set()
    for sample in samples:
        if sample.round not in rounds:
            rounds.add(sample.round)
            print(".", end="", file=sys.stderr, flush=True)
        yield sample


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder, and its parent where there is none."""
    folder = parent / name
    folder.mkdir(parents=True)
    return folder


Choice = TypeVar("Choice", Row, Server)


def chosen(everything: Iterable[Choice], wanted: list[str] | None, quick: bool) -> list[Choice]:
    """Return what is asked for by name, else what belongs to a quick or to a full run."""
    if wanted is None:
        return [item for item in everything if item.quick or not quick]
    found = [item for item in everything if any(part in item.name for part in wanted)]
    if not found:
        raise SystemExit(f"nothing is called {wanted}; there are {[i.name for i in everything]}")
    return found


def workers_wanted(wanted: list[str] | None, quick: bool) -> bool:
    """Tell whether to measure what a worker takes, likewise."""
    if wanted is None:
        return not quick
    return any(part in name for part in wanted for name in OF_WORKERS)


def upper_us(size: int) -> float:
    """Return what ``.upper()`` of a text of that size takes, µs: the least of many short tries."""
    number = max(1, 2**17 // size)
    return min(timeit.repeat(("a" * size).upper, number=number, repeat=300)) / number * 1e6


def allow_open_files(number: int) -> None:
    """Raise the limit of open files, which servers and client inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < number:
        raise SystemExit(f"ulimit -Hn is {most}; the benchmark opens up to {number} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, most))


if __name__ == "__main__":
    sys.exit(main())

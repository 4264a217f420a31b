"""``make bench`` and ``make bench-quick``: measure, print the tables, write the pages."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import resource
import shlex
import sys
import tempfile
import timeit
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from . import report
from .load import SOURCE, LoadFailed, compile_client, compile_command
from .measuring import Client, Sample, cpu_sample, memory_sample, worker_samples
from .plot import plot
from .report import OURS
from .rows import ROWS, Row
from .servers import BASE, LARGE_MESSAGES, MPCHAT_CONFIG, SERVERS, Server, running

MAX_CONNECTIONS = max(row.connections for row in ROWS)


def main() -> int:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and servers, short rounds")
    parser.add_argument("--rows", nargs="*", help="rows whose name contains one of these")
    parser.add_argument("--servers", nargs="*", help="servers, likewise; uvloop TCP is always in")
    parser.add_argument("--rounds", type=int, help="default 7, quick 5; for memory 3 and 1")
    parser.add_argument("--seconds", type=float, help="of load in a round; default 0.8, quick 0.4")
    parser.add_argument("--write", type=Path, help="folder for benchmark.md, .json and .svg")
    parser.add_argument("--again", type=Path, help="report that benchmark.json, measure nothing")
    options = parser.parse_args()
    try:
        document = json.loads(options.again.read_text()) if options.again else measure(options)
    except LoadFailed as error:
        raise SystemExit(str(error)) from error
    print(f"\n{report.tables(document)}")
    if options.write:
        (options.write / "benchmark.json").write_text(json.dumps(document, indent=1) + "\n")
        (options.write / "benchmark.md").write_text(report.page(document))
        (options.write / "benchmark.svg").write_text(plot(document))
    return 0


def measure(options: argparse.Namespace) -> report.Document:
    """Measure what the options ask for."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two CPUs, one for a server and one for its load")
    allow_open_files(2 * MAX_CONNECTIONS)
    rows = chosen(ROWS, options.rows, options.quick)
    servers = chosen(SERVERS, options.servers, options.quick)
    servers = [BASE, *(server for server in servers if server is not BASE)]
    fit = {row: [server for server in servers if row.suits(server)] for row in rows}
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        compile_client(Path(name) / "client")
        client = Client(f"{name}/client", cores[1])
        for row in rows:
            print(row.name, end=" ", file=sys.stderr, flush=True)
            folder = Path(name) / row.name
            measure_row = memory_row if row.memory else cpu_row
            samples += measure_row(row, fit[row], folder, client, cores[0], options)
            print(file=sys.stderr)
        if not options.quick and not options.rows:
            for number in range(options.rounds or 3):
                samples += worker_samples(OURS, Path(name), f"{cores[0]},{cores[1]}", number)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": report.machine(),
        "versions": report.versions(),
        "compiler": shlex.join([*compile_command(Path("client"))[:-1], SOURCE.name]),
        "servers": {server.name: server.shown for server in servers},
        "static_config.yaml": MPCHAT_CONFIG + "            # above 64 KiB:\n" + LARGE_MESSAGES,
        "loads": {
            row.name: {
                server.name: shlex.join(["client", *row.arguments(server), "PORT"])
                for server in fit[row]
            }
            for row in rows
        },
        "upper_us": {row.name: upper_us(row.size) for row in rows if row.text},
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }


def cpu_row(
    row: Row,
    servers: list[Server],
    folder: Path,
    client: Client,
    core: int,
    options: argparse.Namespace,
) -> Iterator[Sample]:
    """Measure CPU time: all servers run, and take turns in every round."""
    seconds = options.seconds or (0.4 if options.quick else 0.8)
    with ExitStack() as stack:
        up = []
        for server in servers:
            place = new_folder(folder, server.name)
            up.append(stack.enter_context(running(server, place, str(core), large=row.large)))
        for number in range(options.rounds or (5 if options.quick else 7)):
            print(".", end="", file=sys.stderr, flush=True)
            for target in up:
                yield cpu_sample(row, target, client, number, seconds)


def memory_row(
    row: Row,
    servers: list[Server],
    folder: Path,
    client: Client,
    core: int,
    options: argparse.Namespace,
) -> Iterator[Sample]:
    """Measure memory: a server is started for each sample."""
    for number in range(options.rounds or (1 if options.quick else 3)):
        print(".", end="", file=sys.stderr, flush=True)
        for server in servers:
            place = new_folder(folder, f"{server.name} {number}")
            with running(server, place, str(core), large=row.large) as target:
                yield memory_sample(row, target, client, number)


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

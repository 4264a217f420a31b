"""``make bench`` and ``make bench-quick``: measure, print the tables, write the pages."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import resource
import sys
import tempfile
import timeit
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from . import report
from .load import compile_client, compile_command
from .measuring import Client, Sample, cpu_sample, memory_sample, worker_samples
from .plot import plot
from .report import OURS
from .rows import ROWS, Row
from .servers import BASE, SERVERS, Server, running

MOST_CONNECTIONS = max(row.connections for row in ROWS)


def main() -> int:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and servers, short rounds")
    parser.add_argument("--rows", nargs="*", help="rows whose name contains one of these")
    parser.add_argument("--servers", nargs="*", help="servers, likewise; uvloop TCP is always in")
    parser.add_argument("--rounds", type=int, help="default 5, quick 3")
    parser.add_argument("--seconds", type=float, help="of load in a round; default 1, quick 0.5")
    parser.add_argument("--write", type=Path, help="folder for benchmark.md, .json and .svg")
    parser.add_argument("--again", type=Path, help="report that benchmark.json, measure nothing")
    options = parser.parse_args()
    document = json.loads(options.again.read_text()) if options.again else measure(options)
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
    allow_open_files(2 * MOST_CONNECTIONS)
    rows = chosen(ROWS, options.rows, options.quick)
    servers = chosen(SERVERS, options.servers, options.quick)
    servers = [BASE, *(server for server in servers if server is not BASE)]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        compile_client(folder / "client")
        client = Client(str(folder / "client"), cores[1])
        for row in rows:
            taking_part = [server for server in servers if row.suits(server)]
            samples += run_row(row, taking_part, folder / row.name, client, cores[0], options)
        if not options.quick and not options.rows:
            for number in range(options.rounds or 5):
                samples += worker_samples(OURS, folder, f"{cores[0]},{cores[1]}", number)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": report.machine(),
        "versions": report.versions(),
        "commands": {
            "client, compiled": compile_command(Path("client")),
            **{server.name: server.command_line("PORT") for server in servers},
        },
        "rows": {row.name: row.arguments(servers[-1]) for row in rows},
        "upper_us": {row.name: upper_us(row.size) for row in rows if row.text},
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }


def run_row(
    row: Row,
    servers: list[Server],
    folder: Path,
    client: Client,
    core: int,
    options: argparse.Namespace,
) -> Iterator[Sample]:
    """Measure a row: the servers take turns in every round."""
    rounds = options.rounds or (3 if options.quick else 5)
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    print(row.name, end=" ", file=sys.stderr, flush=True)
    folders = {server: folder / server.name for server in servers}
    for place in folders.values():
        place.mkdir(parents=True)
    with ExitStack() as stack:
        if not row.memory:
            up = [
                stack.enter_context(running(server, place, str(core), large=row.large))
                for server, place in folders.items()
            ]
        for number in range((rounds + 1) // 2 if row.memory else rounds):
            print(".", end="", file=sys.stderr, flush=True)
            if not row.memory:
                for target in up:
                    yield cpu_sample(row, target, client, number, seconds)
                continue
            for server, place in folders.items():
                with running(server, place, str(core), large=row.large) as target:
                    yield memory_sample(row, target, client, number)
    print(file=sys.stderr)


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
    """Return what ``.upper()`` of a text of that size takes, µs."""
    text = "a" * size
    return min(timeit.repeat(text.upper, number=100, repeat=5)) / 100 * 1e6


def allow_open_files(number: int) -> None:
    """Raise the limit of open files, which servers and client inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < number:
        raise SystemExit(f"ulimit -Hn is {most}; the benchmark opens up to {number} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, most))


if __name__ == "__main__":
    sys.exit(main())

"""``make bench`` and ``make bench-quick``: measure, print the tables, write the pages."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
import timeit
from pathlib import Path

from . import environment, node
from .load import ZLIB, LoadFailed, compile_client
from .measuring import Client, Sample, worker_samples
from .page import page, with_paragraph
from .plot import plot
from .report import tables
from .results import Document, Run, dumped, merged
from .rows import OF_WORKERS, ROWS
from .running import DEFLATE, LARGE_MESSAGES, MPCHAT_CONFIG, ROOMS, Place
from .servers import BASE, NODE, OURS, REDIS, SERVERS, UPPER
from .task import Effort, Task, allow_open_files, chosen, measured

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
    effort = Effort(
        options.rounds or (5 if options.quick else 7),
        options.rounds or (1 if options.quick else 3),
        options.seconds or (0.4 if options.quick else 0.6),
    )
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
            samples += measured(Task(row, fit[row], Path(name) / row.name, client, place, effort))
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


def workers_wanted(wanted: list[str] | None, quick: bool) -> bool:
    """Tell whether to measure what a worker takes, likewise."""
    if wanted is None:
        return not quick
    return any(part in name for part in wanted for name in OF_WORKERS)


def upper_us(size: int) -> float:
    """Return what ``.upper()`` of a text of that size takes, µs: the least of many short tries."""
    number = max(1, 2**17 // size)
    return min(timeit.repeat(("a" * size).upper, number=number, repeat=300)) / number * 1e6


if __name__ == "__main__":
    sys.exit(main())

"""``make bench-hosts``: measure, print the tables, write them into the page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..load import LoadFailed
from ..servers import REDIS
from . import report
from .engines import CHANNELS, ENGINES, Engine, nats_servers
from .measuring import Sample, nats_py_sample, restart_sample, room_samples
from .network import Network, network
from .rows import MANY, ROWS

CLIENT = Path(__file__).with_name("client.c")
RATE = 20_000
"""Messages a second, at which nats-py is measured by itself"""
REST = 3.0
"""Seconds for which a broker rests with its rooms"""


def main() -> int:
    """Measure as the options say."""
    parser = argparse.ArgumentParser(prog="bench.hosts", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="of messages, and of nats-py by itself"
    )
    parser.add_argument("--kills", type=int, default=2, help="rounds of brokers that are killed")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load in a round")
    parser.add_argument("--engines", nargs="*", help="those whose name contains one of these")
    parser.add_argument("--rows", nargs="*", help="loads, and nats-py, likewise")
    parser.add_argument(
        "--many", nargs="*", type=int, default=list(MANY), help="rooms of a broker that is killed"
    )
    parser.add_argument(
        "--write", type=Path, help="the page with the tables; scale-out.json lies beside it"
    )
    parser.add_argument("--again", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        # What was started here is ended, also where a shell has this ignored.
        signal.signal(number, signal.default_int_handler)
    try:
        document = _read(options.write) if options.again else run(options)
        _report(document, options.write)
    except LoadFailed as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        return 130
    return 0


def _read(page: Path | None) -> report.Document:
    if page is None:
        raise SystemExit("--again needs --write")
    document: report.Document = json.loads(page.with_name("scale-out.json").read_text())
    return document


def _report(document: report.Document, page: Path | None) -> None:
    print(f"\n{report.tables(document)}", flush=True)
    if page is not None:
        text = json.dumps(document, indent=1) + "\n"
        page.with_name("scale-out.json").write_text(text)
        page.write_text(report.with_tables(page.read_text(), document))


def run(options: argparse.Namespace) -> report.Document:
    """Measure what is asked for."""
    engines = [engine for engine in ENGINES if is_named(engine.name, options.engines)]
    if shutil.which(REDIS) is None and CHANNELS in engines:
        print(f"Not measured: {CHANNELS.name} (there is no {REDIS})", file=sys.stderr)
        engines.remove(CHANNELS)
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        net = stack.enter_context(network())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-hosts-")))
        program = folder / "client"
        compile_client(program)
        return {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            **report.surroundings(),
            "cores": len(os.sched_getaffinity(0)),
            "network": net.what,
            "rounds": options.rounds,
            "kills": options.kills,
            "seconds": options.seconds,
            "load": round(load, 1),
            "messages": _messages(engines, net, folder, program, options),
            "restarts": _restarts(engines, net, folder, options),
            "nats_py": _nats_py(net, folder, options),
        }


def is_named(name: str, words: list[str] | None) -> bool:
    """Tell whether a name has one of the words in it; without words all have."""
    return words is None or any(word in name for word in words)


def compile_client(program: Path) -> None:
    """Make ``program``, the client.

    Raises:
        LoadFailed: There is no compiler.
    """
    command = [os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(CLIENT)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError as error:
        text = f"{error.filename}: no such C compiler; the clients need one, named in CC"
        raise LoadFailed(text) from error


def _messages(
    engines: list[Engine], net: Network, folder: Path, program: Path, options: argparse.Namespace
) -> list[Sample]:
    rows = [row for row in ROWS if is_named(row.name, options.rows)]
    samples: list[Sample] = []
    if not rows:
        return samples
    with ExitStack() as stack:
        targets = [
            stack.enter_context(engine.start(net, folder / engine.name)) for engine in engines
        ]
        for row in rows:
            with _told(row.name):
                samples += room_samples(row, targets, program, options.rounds, options.seconds)
    return samples


def _restarts(
    engines: list[Engine], net: Network, folder: Path, options: argparse.Namespace
) -> list[Sample]:
    samples = []
    for rooms in options.many:
        with _told(f"a broker with {rooms:,} rooms"):
            for number in range(options.kills):
                for engine in engines:
                    if engine.restarts:
                        own = folder / f"{rooms} {number} {engine.name}"
                        samples.append(restart_sample(engine, net, own, rooms, number, REST))
    return samples


def _nats_py(net: Network, folder: Path, options: argparse.Namespace) -> list[Sample]:
    if not is_named("nats-py", options.rows):
        return []
    with _told("nats-py"), nats_servers(net.between, folder / "nats-py", 1) as nats:
        return [
            nats_py_sample(nats.urls[0], RATE, number, options.seconds)
            for number in range(options.rounds)
        ]


@contextmanager
def _told(what: str) -> Iterator[None]:
    begun = time.monotonic()
    print(what, end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

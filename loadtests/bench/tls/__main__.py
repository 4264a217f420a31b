"""``make bench-tls``: measure, print the tables, write the page."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import shlex
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import environment
from ..load import OPENSSL, LoadFailed, compile_client
from ..measuring import Client, Sample
from ..results import dumped
from ..running import Place
from ..servers import BASE_TLS, SERVERS, Server
from ..storm.measuring import Clients, may_come_first
from ..storm.measuring import compile_client as compile_storm
from ..task import Effort, allow_open_files, chosen, measured
from . import report
from .rows import ROWS, TlsRow, TlsTask
from .storm import STORMED, UNQUEUED, Storm, stormed

BENEATH = ("uvloop", "aiofastnet", "httptools")
"""What those servers run on, by default or as their authors recommend"""
MAX_CONNECTIONS = max(row.connections for row in ROWS)


def main() -> int:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="bench.tls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, short rounds")
    parser.add_argument("--rows", nargs="*", help="rows whose name contains one of these")
    parser.add_argument("--servers", nargs="*", help="servers, likewise; uvloop TLS is always in")
    parser.add_argument("--rounds", type=int, help="default 7, quick 3; for memory 3 and 1")
    parser.add_argument("--seconds", type=float, help="of load in a round; default 0.6, quick 0.4")
    parser.add_argument(
        "--storm", type=int, help="seconds of ClientHellos, 0 for none; default 5, quick 2"
    )
    parser.add_argument("--write", type=Path, help="folder for benchmark-tls.md and .json")
    parser.add_argument("--again", type=Path, help="report that .json, measure nothing")
    options = parser.parse_args()
    try:
        document = json.loads(options.again.read_text()) if options.again else run(options)
    except LoadFailed as error:
        raise SystemExit(str(error)) from error
    print(f"\n{report.tables(document)}")
    if options.write is not None:
        (options.write / "benchmark-tls.json").write_text(dumped(document))
        (options.write / "benchmark-tls.md").write_text(report.page(document))
    return 0


def run(options: argparse.Namespace) -> report.Document:
    """Measure what is asked for."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two CPUs, one for a server and one for its load")
    allow_open_files(2 * MAX_CONNECTIONS)
    speaking = [server for server in SERVERS if server.has("tls")]
    rows = [] if options.rows == [] else chosen(ROWS, options.rows, options.quick)
    asked = chosen(speaking, options.servers, quick=False)
    servers = [BASE_TLS, *(server for server in asked if server is not BASE_TLS)]
    place = Place(sys.executable, str(cores[0]))
    effort = Effort(
        options.rounds or (3 if options.quick else 7),
        options.rounds or (1 if options.quick else 3),
        options.seconds or (0.4 if options.quick else 0.6),
    )
    load = round(os.getloadavg()[0], 1)
    found = environment.found_here()
    part = {*(server.package for server in servers), *BENEATH}
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as name:
        folder = Path(name)
        program = folder / "client"
        compiled_by = compile_client(program, OPENSSL)
        if not set(OPENSSL) <= set(compiled_by):
            raise SystemExit("the load client needs OpenSSL's headers, Debian's libssl-dev")
        client = Client(str(program), cores[1])
        fit = {row: [server for server in servers if row.suits(server)] for row in rows}
        samples: list[Sample] = []
        for row in rows:
            samples += measured(TlsTask(row, fit[row], folder / row.name, client, place, effort))
        storms = [*_storms(options, servers, folder, place, cores[1])]
    return {
        "cpu": environment.cpu(),
        "kernel": f"Linux {platform.release()}",
        **found,
        "versions": {name: version for name, version in found["versions"].items() if name in part},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "openssl": ssl.OPENSSL_VERSION,
        "load": load,
        "servers": {server.name: server.shown("tls") for server in servers},
        "loads": {row.name: _loads(row, fit[row]) for row in rows},
        "samples": [dataclasses.asdict(sample) for sample in samples],
        "storms": storms,
    }


def _loads(row: TlsRow, servers: list[Server]) -> dict[str, str]:
    return {
        server.name: shlex.join(["client", *row.arguments(server), "PORT"]) for server in servers
    }


def _storms(
    options: argparse.Namespace, servers: list[Server], folder: Path, place: Place, core: int
) -> Iterator[Storm]:
    seconds = options.storm if options.storm is not None else (2 if options.quick else 5)
    if not seconds:
        return
    clients = Clients(folder / "clients", core, may_come_first())
    compile_storm(clients.program, OPENSSL)
    for number in range(options.rounds or (1 if options.quick else 3)):
        print(f"ClientHellos, round {number + 1}", file=sys.stderr)
        for server in (each for each in STORMED if each in servers or each is UNQUEUED):
            own = folder / f"storm {number} {server.name}"
            own.mkdir()
            yield stormed(server, own, place, clients, seconds)


if __name__ == "__main__":
    sys.exit(main())

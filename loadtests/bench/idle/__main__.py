"""``make bench-idle``: measure, print the table, write the page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..load import LoadFailed
from . import readings, report
from .crowd import compile_client
from .measuring import WARM_PER_WORKER, How, measure
from .plan import plan
from .service import CLOSES_PER_SECOND

GIB = 2**20
"""In KiB"""


def main() -> int:
    """Run as the options say."""
    parser = argparse.ArgumentParser(prog="bench.idle", description=__doc__)
    parser.add_argument(
        "--most", type=int, default=1_000_000, help="connections, by default 1,000,000"
    )
    parser.add_argument("--floor", type=float, default=3.0, help="GiB that stay available")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement at rest")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds before a measurement")
    parser.add_argument("--ping-interval", type=float, default=25.0, help="seconds")
    parser.add_argument("--rows", nargs="*", default=["most", "cores"], help="most, cores")
    parser.add_argument("--write", type=Path, help="folder for benchmark-idle.md and .json")
    parser.add_argument("--again", type=Path, help="report that .json, measure nothing")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        # What was started here is ended, also where a shell has this ignored.
        signal.signal(number, signal.default_int_handler)
    try:
        if options.again:
            _report(json.loads(options.again.read_text()), options.write)
        else:
            for document in run(options):
                # After each row: the next one may take half an hour.
                _report(document, options.write)
    except LoadFailed as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        return 130
    return 0


def _report(document: report.Document, folder: Path | None) -> None:
    print(report.results(document), flush=True)
    if folder is not None:
        (folder / "benchmark-idle.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "benchmark-idle.md").write_text(report.page(document))


def run(options: argparse.Namespace) -> Iterator[report.Document]:
    """Measure the rows that are asked for; yield what is known after each."""
    _soft, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Services and clients inherit it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    cores = len(os.sched_getaffinity(0))
    plans = {"most": plan(options.most, files), "cores": plan(options.most, files, cores)}
    rows: list[report.Row] = []
    document = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **report.surroundings(),
        "files": files,
        "cores": cores,
        "memory_kib": readings.fields(Path("/proc/meminfo").read_text())["MemTotal"],
        "most": options.most,
        "floor": options.floor,
        "warm": WARM_PER_WORKER,
        "closes_per_second": CLOSES_PER_SECOND,
        "ping_interval": options.ping_interval,
        "rows": rows,
    }
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as name:
        program = Path(name) / "client"
        compile_client(program)
        for row in options.rows:
            folder = Path(name) / row
            folder.mkdir()
            how = How(
                program,
                folder,
                int(options.floor * GIB),
                options.seconds,
                options.settle,
                options.ping_interval,
            )
            rows.append(measure(row, plans[row], how))
            yield document


if __name__ == "__main__":
    sys.exit(main())

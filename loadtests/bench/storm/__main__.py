"""``make bench-storm``: measure, print the tables, write the page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from ..load import LoadFailed
from ..running import Place
from . import report
from .measuring import KINDS, PRIORITY, Clients, How, alone, compile_client, may_come_first, phases


def main() -> int:
    """Measure as the options say."""
    parser = argparse.ArgumentParser(prog="bench.storm", description=__doc__)
    parser.add_argument("--kinds", nargs="*", help="those whose name contains one of these")
    parser.add_argument("--quiet", type=int, default=5, help="seconds without a storm")
    parser.add_argument("--onset", type=int, default=6, help="seconds in which a limit is sought")
    parser.add_argument("--storm", type=int, default=10, help="seconds of the storm after that")
    parser.add_argument("--after", type=int, default=10, help="seconds after the storm")
    parser.add_argument("--write", type=Path, help="folder for benchmark-overload.md and .json")
    parser.add_argument("--again", type=Path, help="report that .json, measure nothing")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        # What was started here is ended, also where a shell has this ignored.
        signal.signal(number, signal.default_int_handler)
    try:
        document = json.loads(options.again.read_text()) if options.again else run(options)
        _report(document, options.write)
    except LoadFailed as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        return 130
    return 0


def _report(document: report.Document, folder: Path | None) -> None:
    print(f"\n{report.tables(document)}", flush=True)
    if folder is not None:
        text = json.dumps(document, indent=1) + "\n"
        (folder / "benchmark-overload.json").write_text(text)
        (folder / "benchmark-overload.md").write_text(report.page(document))


def run(options: argparse.Namespace) -> report.Document:
    """Measure what is asked for."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two CPUs, one for a worker and one for its clients")
    kinds = [
        kind
        for kind in KINDS
        if options.kinds is None or any(word in kind.name for word in options.kinds)
    ]
    load = os.getloadavg()[0]
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-storm-") as name:
        folder = Path(name)
        how = How(
            Clients(folder / "client", cores[1], may_come_first()),
            folder,
            Place(sys.executable, str(cores[0])),
            options.quiet,
            options.onset,
            options.storm,
            options.after,
        )
        if not how.clients.first:
            print(
                f"chrt --fifo {PRIORITY} is not allowed here: those who are connected wait for the"
                " storm's generator as well. It takes root.",
                file=sys.stderr,
            )
        compile_client(how.clients.program)
        for kind in kinds:
            print(kind.name, file=sys.stderr)
            capacity = alone(kind, how)
            runs.append(
                {
                    "kind": kind.name,
                    "alone": capacity,
                    "free": phases(kind, how, capacity, limited=False),
                    "limited": phases(kind, how, capacity, limited=True),
                }
            )
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **report.surroundings(),
        "cores": len(cores),
        "load": round(load, 1),
        "first": how.clients.first,
        "quiet": how.quiet,
        "onset": how.onset,
        "storm": how.storm,
        "runs": runs,
    }


if __name__ == "__main__":
    sys.exit(main())

"""``make conformance``: all of Autobahn|Testsuite through ``mpchat serve``, and a page of the results.

Exits 1 unless every case passed. The suite's own pages, with every byte of each case, are left in
build/conformance.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import tempfile
import zlib
from importlib import metadata
from pathlib import Path

from mpchat.testsuite.service import Service
from tests.conformance.page import page
from tests.conformance.suite import ALL, describe, run_kosoku, run_wstest

HERE = Path(__file__).parent
REPORTS = HERE.parent.parent / "build" / "conformance"
SECONDS = 3600.0
AUTOBAHN = "25.10.1"
"""The release of autobahntestsuite whose cases the pinned kosoku runs."""


def main() -> int:
    """Run the suite as the options say."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--write", metavar="FILE", help="write the page of results there")
    parser.add_argument("--exclude", action="append", default=[], metavar="CASES", help="as 12.*")
    parser.add_argument("--wstest", metavar="PROGRAM", help="the original instead of kosoku")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = str(HERE / "static_config.yaml")
        command = [sys.executable, "-m", "mpchat", "serve", "--config", config]
        service = Service(command, Path(folder))
        try:
            service.wait_ready()
            url = f"ws://127.0.0.1:{service.port}/chat"
            if options.wstest:
                outcomes = run_wstest(options.wstest, url, REPORTS, options.exclude, SECONDS)
            else:
                outcomes = run_kosoku(url, REPORTS, options.exclude, 1, SECONDS)
            left_with = service.stop()
        finally:
            service.close()
    runner = f"wstest {AUTOBAHN}" if options.wstest else f"kosoku {metadata.version('kosoku')}"
    number = f"All {ALL}" if len(outcomes) == ALL else f"{len(outcomes)} of the {ALL}"
    introduction = (
        f"{number} cases of Autobahn|Testsuite {AUTOBAHN}, run by {runner} on "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d} against `mpchat serve` with\n"
        "[a config of its own](../tests/conformance/static_config.yaml): "
        "one worker, large messages, compression."
    )
    versions = {
        **{name: metadata.version(name) for name in ("mpchat", "websockets", "uvloop", "isal")},
        "Python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    text = page(outcomes, introduction, versions)
    print(text)
    if options.write:
        Path(options.write).write_text(text)
    wrong = [outcome for outcome in outcomes if not outcome.is_fine]
    print(describe(wrong), file=sys.stderr)
    if left_with != 0:
        print(f"the service left with exit code {left_with}", file=sys.stderr)
    return 1 if wrong or left_with != 0 else 0


if __name__ == "__main__":
    sys.exit(main())

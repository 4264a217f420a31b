"""``make conformance``: all of Autobahn|Testsuite through ``mpchat serve``, and a page of the results.

They run twice, plain and through TLS, which a relay speaks for them. Exits 1 unless every case passed.
The suite's own pages, with every byte of each case, are left in build/conformance and
build/conformance-tls.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import tempfile
import zlib
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import yaml

from mpchat.testsuite.service import Service
from tests.conformance.page import page
from tests.conformance.suite import ALL, Outcome, describe, run_kosoku, run_wstest
from tests.kit.certificates import Certificates
from tests.kit.relay import relaying

HERE = Path(__file__).parent
REPORTS = HERE.parent.parent / "build" / "conformance"
REPORTS_OF_TLS = REPORTS.with_name("conformance-tls")
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
        plain, secure = Path(folder, "plain"), Path(folder, "tls")
        outcomes = _run(plain, None, REPORTS, options)
        by_tls = _run(secure, Certificates(Path(folder)), REPORTS_OF_TLS, options)
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
    text = page(outcomes, by_tls, introduction, versions)
    print(text)
    if options.write:
        Path(options.write).write_text(text)
    wrong = [outcome for outcome in (*outcomes, *by_tls) if not outcome.is_fine]
    print(describe(wrong), file=sys.stderr)
    return 1 if wrong else 0


def _run(
    folder: Path, certificates: Certificates | None, reports: Path, options: argparse.Namespace
) -> list[Outcome]:
    """Run the suite against a service, which speaks TLS if there are certificates.

    Raises:
        RuntimeError: The service does not end as it should.
    """
    folder.mkdir()
    config = yaml.safe_load((HERE / "static_config.yaml").read_text())
    if certificates is not None:
        server = config["components_manager"]["components"]["server"]
        server["listener"]["tls"] = certificates.ec.options
    (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mpchat", "serve", "--config", "static_config.yaml"]
    service = Service(command, folder)
    with ExitStack() as stack:
        stack.callback(service.close)
        service.wait_ready()
        port = service.port
        if certificates is not None:
            port = stack.enter_context(relaying(port, certificates.trusting()))
        url = f"ws://127.0.0.1:{port}/chat"
        if options.wstest:
            outcomes = run_wstest(options.wstest, url, reports, options.exclude, SECONDS)
        else:
            outcomes = run_kosoku(url, reports, options.exclude, 1, SECONDS)
        if (left_with := service.stop()) != 0:
            raise RuntimeError(f"the service left with exit code {left_with}")
    return outcomes


if __name__ == "__main__":
    sys.exit(main())

"""What the service wrote during a test that failed, in pytest's report of the failure."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from mpchat.testsuite.logs import parse_tskv
from mpchat.testsuite.service import Service, ServiceFailed

MAX_RECORDS = 100
"""Of the end of the log; the whole log is in the file that the report names."""
LINE_DELAY = 0.05
"""Seconds until a line that a worker has logged is in the file: at most 20 ms and a thread's turn."""

_SERVICES: pytest.StashKey[list[Service]] = pytest.StashKey()


def report_log_of(service: Service, item: pytest.Item) -> None:
    """Have the report of a failure of this test show what the service wrote."""
    item.stash.setdefault(_SERVICES, []).append(service)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add a section for the log, and one for what was printed."""
    report = yield
    services = item.stash.get(_SERVICES, [])
    # ServiceFailed holds it already.
    told = call.excinfo is not None and isinstance(call.excinfo.value, ServiceFailed)
    if report.failed and services and not told:
        time.sleep(LINE_DELAY)
        for service in services:
            log, printed = readable_log(service), service.stdout()
            if log:
                report.sections.append(("Captured service log", log))
            if printed.removeprefix(f"{service.ready_line}\n"):
                report.sections.append(("Captured service stdout", printed))
    return report


def readable_log(service: Service) -> str:
    """Return the end of a service's log for people: short lines, tracebacks with real ends of lines."""
    lines = service.stderr().splitlines()
    shown = [_readable(line) for line in lines[-MAX_RECORDS:]]
    if len(lines) > len(shown):
        shown.insert(0, f"({len(lines) - len(shown)} lines more in {service.stderr_path})")
    return "\n".join(shown)


def _readable(line: str) -> str:
    fields = parse_tskv(line)
    if "timestamp" not in fields:
        return _harmless(line)
    words = [fields["timestamp"].partition("T")[2], fields.get("level", "")]
    words += [fields[name] for name in ("worker", "module", "connection") if name in fields]
    return _harmless(f"{' '.join(words)}: {fields.get('text', '')}")


def _harmless(text: str) -> str:
    """Escape what a client may have sent for the terminal that shows the report to obey."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )

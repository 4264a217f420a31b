"""Adds the output of the service to pytest's report of a failed test."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from mpchat.testsuite.logs import parse_tskv
from mpchat.testsuite.service import Service, ServiceFailed

MAX_RECORDS = 100
"""Records shown from the end of the log; the report names the file with the whole log."""
LINE_DELAY = 0.2
"""Seconds until a logged line is in the file: 20 ms, and the time to wake a thread on a busy machine."""

_SERVICES: pytest.StashKey[list[Service]] = pytest.StashKey()


def report_log_of(service: Service, item: pytest.Item) -> None:
    """Make the report of this test, if it fails, show the output of the service."""
    item.stash.setdefault(_SERVICES, []).append(service)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add a section for the log, and one for stdout."""
    report = yield
    services = item.stash.get(_SERVICES, [])
    # The text of ServiceFailed already contains the output.
    is_shown = call.excinfo is not None and isinstance(call.excinfo.value, ServiceFailed)
    if report.failed and services and not is_shown:
        time.sleep(LINE_DELAY)
        for service in services:
            log, printed = readable_log(service), service.stdout()
            if log:
                report.sections.append(("Captured service log", log))
            if printed.removeprefix(f"{service.ready_line}\n"):
                report.sections.append(("Captured service stdout", printed))
    return report


def readable_log(service: Service) -> str:
    """Return the end of a service's log for people: short lines, and tracebacks with real line ends."""
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
    """Escape control characters, which a client may have sent, for the terminal that shows the report."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )

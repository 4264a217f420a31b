"""What the log says of an outage."""

from __future__ import annotations

import logging

import pytest

from mpchat.config_service.outage import Outage

REFUSED, STALLED = "it cannot be reached: Connection refused", "no answer within 20 s"


@pytest.fixture
def faults(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO)
    return Outage(logging.getLogger("a.test"), "http://there")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    prefix = "no update from the config service http://there"
    return [
        (record.levelname, record.getMessage().removeprefix(prefix)) for record in caplog.records
    ]


def test_a_fault_that_lasts_is_said_once_and_then_by_count(
    faults: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        faults.failed(REFUSED)
    assert lines(caplog) == [
        ("WARNING", f": {REFUSED}"),
        ("WARNING", f" 10 times in a row, the last time: {REFUSED}"),
        ("WARNING", f" 20 times in a row, the last time: {REFUSED}"),
        ("WARNING", f" 40 times in a row, the last time: {REFUSED}"),
    ]


def test_another_fault_is_said_as_well(faults: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(4):
        faults.failed(REFUSED)
        faults.failed(STALLED)
    assert lines(caplog) == [("WARNING", f": {REFUSED}"), ("WARNING", f": {STALLED}")]


def test_its_end_is_said_and_then_it_is_new(
    faults: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    faults.over()
    faults.failed(REFUSED)
    faults.failed(REFUSED)
    faults.over()
    faults.over()
    faults.failed(REFUSED)
    again = "the config service http://there can be followed again; updates that had failed: 2"
    assert lines(caplog) == [
        ("WARNING", f": {REFUSED}"),
        ("INFO", again),
        ("WARNING", f": {REFUSED}"),
    ]


def test_a_server_that_makes_up_faults_does_not_fill_the_log(
    faults: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10_000):
        faults.failed(f"it says {number}")
    assert len(lines(caplog)) < 40

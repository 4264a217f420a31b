"""The page of results hides nothing."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conformance.page import differences, exceptions, table
from tests.conformance.suite import Outcome

GOOD = Outcome("1.1.1", "OK", "OK", 2, "Send text.", "An echo.", "Ok.")
VERDICTS = [
    ("FAILED", "OK"),
    ("ERROR", "OK"),
    ("OK", "WRONG CODE"),
    ("INFORMATIONAL", "UNCLEAN"),
]


def test_what_is_good_is_only_counted() -> None:
    assert table([GOOD])[2] == "| 1 Framing | 1 | 1 | 0 | 0 | 0 | 0 |"
    assert exceptions([GOOD]) == ["There is none."]


@pytest.mark.parametrize(("behavior", "close"), VERDICTS)
def test_what_is_wrong_is_counted_as_failed_and_listed(behavior: str, close: str) -> None:
    wrong = dataclasses.replace(GOOD, behavior=behavior, close=close)
    assert not wrong.is_fine
    assert table([GOOD, wrong])[2] == "| 1 Framing | 2 | 1 | 0 | 0 | 0 | 1 |"
    assert exceptions([GOOD, wrong])[2].startswith("| 1.1.1 |")


def test_what_is_not_there_is_counted_as_such_and_does_not_pass() -> None:
    missing = dataclasses.replace(GOOD, case="12.1.1", behavior="UNIMPLEMENTED")
    assert not missing.is_fine
    assert table([missing])[-1] == "| all | 1 | 0 | 0 | 0 | 1 | 0 |"


def test_another_verdict_through_tls_is_told() -> None:
    wrong = dataclasses.replace(GOOD, close="UNCLEAN")
    assert differences([GOOD], [GOOD]) == ["All 1 cases have the same verdicts through TLS 1.3."]
    assert differences([GOOD], [wrong])[2] == "| 1.1.1 | OK, OK | OK, UNCLEAN |"
    assert differences([GOOD], [])[2] == "| 1.1.1 | OK, OK | not run |"

"""The status that is drawn again and again."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.cli.watching import Watched, screen
from mpchat.ipc.control import ControlError
from tests.unit.cli.test_tables import STATUS


def test_a_screen_is_overwritten_and_never_scrolls() -> None:
    drawn = screen(["first", "a long second line", "third", "fourth"], columns=8, rows=3)
    assert drawn == "\x1b[Hfirst\x1b[K\na long s\x1b[K\n(2 more \x1b[K\x1b[J"
    assert screen(["one"], 80, 24) == "\x1b[Hone\x1b[K\x1b[J"


def test_rates_are_over_the_time_between_two_answers() -> None:
    answers = iter(
        STATUS | {"totals": STATUS["totals"] | {"messages_sent": sent}} for sent in (10, 40)
    )
    times = iter([100.0, 103.0])
    watched = Watched(lambda: next(answers), lambda: next(times))
    assert any("- out" in line for line in watched.lines(None))
    assert any("10.0 out" in line for line in watched.lines(None))


def test_a_service_that_stops_answering_is_shown_as_such() -> None:
    asked: list[Any] = [STATUS, ControlError("cannot ask the service"), STATUS]

    def ask() -> dict[str, Any]:
        answer = asked.pop(0)
        if isinstance(answer, ControlError):
            raise answer
        found: dict[str, Any] = answer
        return found

    watched = Watched(ask)
    watched.lines(None)
    assert list(watched.lines(10)) == ["cannot ask", "the", "service"]
    # What was counted before says nothing about a service that has come back.
    assert any("- out" in line for line in watched.lines(None))


def test_a_service_that_never_answered_is_an_error() -> None:
    def refuse() -> dict[str, Any]:
        raise ControlError("is it running?")

    with pytest.raises(ControlError):
        Watched(refuse).lines(None)

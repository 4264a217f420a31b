"""The last five minutes: rates from counters, gaps, slots that come and go, limits lately reached."""

from __future__ import annotations

from collections.abc import Sequence

from mpchat.console.page.history import SECONDS, History, Part, Reached, Reading


def reading(at: float, messages: int, *slots: int, limits: dict[str, int] | None = None) -> Reading:
    return Reading(
        at,
        Part({"messages": messages}, {"connections": 7}),
        [Part({"messages": count}, {"lag": 0.5}) for count in slots],
        limits or {},
    )


def filled(*readings: Reading) -> History:
    history = History()
    for one in readings:
        history.add(one)
    return history


def messages(history: History) -> Sequence[float | None]:
    found: list[float | None] = history.whole()["service"]["messages"]
    return found


def test_counters_become_rates_and_gauges_stay() -> None:
    history = filled(reading(10.0, 100, 40), reading(11.0, 130, 50), reading(12.5, 160, 53))
    assert history.whole() == {
        "number": 4,
        "service": {"messages": [None, 30, None, 20], "connections": [7, 7, None, 7]},
        "slots": [{"messages": [None, 10, None, 2], "lag": [0.5, 0.5, None, 0.5]}],
    }
    assert history.last() == {
        "number": 4,
        "service": {"messages": 20, "connections": 7},
        "slots": [{"messages": 2, "lag": 0.5}],
    }


def test_seconds_are_not_counted_twice_when_a_reading_is_late() -> None:
    history = filled(reading(10.0, 0), reading(11.4, 14), reading(12.0, 20))
    assert messages(history) == [None, 10, 10]


def test_it_keeps_five_minutes() -> None:
    history = filled(*(reading(float(second), second * second) for second in range(SECONDS + 5)))
    found = messages(history)
    assert len(found) == SECONDS
    assert found[0] == 2 * 5 - 1
    assert found[-1] == 2 * (SECONDS + 4) - 1
    assert history.number == SECONDS + 5


def test_a_console_that_stood_still_for_an_hour_has_no_numbers_of_it() -> None:
    history = filled(reading(0.0, 0, 0), reading(3600.0, 3600, 7200))
    assert messages(history) == [None] * (SECONDS - 1) + [1]
    assert history.whole()["slots"][0]["messages"] == [None] * (SECONDS - 1) + [2]
    assert history.number == 3601


def test_a_slot_that_comes_has_no_past_and_one_that_is_gone_has_none_when_it_comes_back() -> None:
    history = filled(reading(0.0, 0, 5), reading(1.0, 0, 6, 100))
    assert [slot["messages"] for slot in history.whole()["slots"]] == [[None, 1], [None]]
    history.add(reading(2.0, 0, 6))
    history.add(reading(3.0, 0, 6, 1))
    assert [slot["messages"] for slot in history.whole()["slots"]] == [[None, 1, 0, 0], [None]]


def test_limits_that_were_reached_lately() -> None:
    first = reading(0.0, 0, limits={"old": 9, "one": 1, "two": 0})
    history = filled(first)
    assert history.reached() == []
    history.add(reading(1.0, 0, limits={"old": 9, "one": 3, "two": 0}))
    history.add(reading(2.0, 0, limits={"old": 9, "one": 4, "two": 5}))
    history.add(reading(3.0, 0, limits={"old": 9, "one": 4, "two": 5}))
    assert history.reached() == [Reached("one", 3, 1), Reached("two", 5, 1)]
    history.add(reading(3.0 + SECONDS - 2, 0, limits={"old": 9, "one": 4, "two": 6}))
    assert history.reached() == [
        Reached("two", 6, 0),
        Reached("one", 1, SECONDS - 1),
    ]


def test_before_the_first_reading_there_is_nothing() -> None:
    assert History().whole() == {"number": 0, "service": {}, "slots": []}
    assert History().last() == {"number": 0, "service": {}, "slots": []}

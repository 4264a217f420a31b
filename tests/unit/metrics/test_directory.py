"""What a metric may be, and which metrics may stand beside each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.metrics.directory import (
    MAX_VALUES,
    Entry,
    entry_of,
    find_conflicts,
    find_mistakes,
    parse,
)

ORDERS: dict[str, Any] = {
    "name": "orders",
    "kind": "counter",
    "unit": "orders",
    "help": "Orders taken",
    "labels": {"kind": ["buy", "sell"]},
    "bounds": [],
}
WAITED: dict[str, Any] = {
    "name": "wait.seconds",
    "kind": "histogram",
    "unit": "seconds",
    "help": "Time until an order is taken",
    "labels": {},
    "bounds": [0.1, 1],
}
GAUGE: dict[str, Any] = {**ORDERS, "name": "open", "kind": "gauge", "labels": {}}


def test_a_metric_stays_itself_through_json() -> None:
    entries = parse([ORDERS, WAITED, GAUGE])
    assert parse(json.loads(json.dumps([entry.to_json() for entry in entries]))) == entries
    orders, waited, _gauge = entries
    assert orders.combinations == ((("kind", "buy"),), (("kind", "sell"),))
    assert (orders.width, orders.size, waited.width, waited.size) == (1, 2, 4, 4)
    assert waited.combinations == ((),)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "9orders"}, "expected a name of letters, digits, '_', '.' and '-'"),
        ({"name": "or ders"}, "got 'or ders'"),
        ({"name": "orders."}, "got 'orders.'"),
        ({"name": None}, "got None"),
        ({"name": "x" * 501}, "expected a name"),
        ({"name": "http_handler.mine"}, "another name: those that begin with http_handler_ are"),
        ({"kind": "summary"}, "expected a counter, a gauge or a histogram, got 'summary'"),
        ({"unit": 7}, "unit: expected a word, got 7"),
        ({"help": " "}, "help: expected its meaning in one line, got ' '"),
        ({"help": "two\nlines"}, "help: expected its meaning in one line"),
        ({"labels": ("kind",)}, "labels: expected names, each with its values, got ('kind',)"),
        ({"labels": {"kind": ()}}, "labels: kind: expected a tuple of values, got ()"),
        ({"labels": {"kind": "buy"}}, "labels: kind: expected a tuple of values, got 'buy'"),
        ({"labels": {"kind": ("buy", 1)}}, "labels: kind: expected printable texts, got 1"),
        ({"labels": {"kind": ("\udc80",)}}, "labels: kind: expected printable texts"),
        ({"labels": {"kind": ("a", "b", "a")}}, "labels: kind: expected each value once"),
        ({"labels": {"le": ("1",)}}, "labels: expected a name of letters, digits and '_', but not"),
        ({"labels": {"__name": ("1",)}}, "got '__name'"),
        ({"labels": {"a-b": ("1",)}}, "got 'a-b'"),
        ({"labels": {7: ("1",)}}, "got 7"),
        ({"labels": dict.fromkeys("abcdefghi", ("1",))}, "labels: expected at most 8, got 9"),
        (
            {"labels": dict.fromkeys("abc", tuple("0123456789a"))},
            "labels: expected at most 1000 combinations of their values, got 1331",
        ),
        ({"bounds": (1.0,)}, "bounds: expected none of a counter"),
        ({"kind": "histogram"}, "bounds: expected 1 to 100 numbers, got []"),
        ({"kind": "histogram", "bounds": 5}, "bounds: expected 1 to 100 numbers, got 5"),
        ({"kind": "histogram", "bounds": (1, "2")}, "bounds: expected numbers, got '2'"),
        ({"kind": "histogram", "bounds": (1, True)}, "bounds: expected numbers, got True"),
        ({"kind": "histogram", "bounds": (1, float("inf"))}, "bounds: expected numbers, got inf"),
        ({"kind": "histogram", "bounds": (1, 10**400)}, "bounds: expected numbers, got 1000"),
        ({"kind": "histogram", "bounds": (1, 3, 3)}, "bounds: expected rising numbers"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], text: str) -> None:
    (found,) = find_mistakes({**ORDERS, **change})
    assert text in found
    with pytest.raises(ValueError, match="expected"):
        entry_of({**ORDERS, **change})


@pytest.mark.parametrize("bounds", [(0.5,), [1, 2, 3.5], (-1, 0)])
def test_bounds_are_any_rising_numbers(bounds: Any) -> None:
    assert [*find_mistakes({**WAITED, "bounds": bounds})] == []


def entries(*changes: dict[str, Any]) -> list[Entry]:
    return [entry_of({**ORDERS, **change}) for change in changes]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ({}, {}, "another metric has the name orders"),
        ({"name": "a.b"}, {"name": "a_b"}, "the name a_b, which Prometheus knows as a.b"),
        ({"name": "a"}, {"name": "a_total"}, "the name a_total, which Prometheus knows as a"),
        (
            {"name": "a", "kind": "histogram", "bounds": [1]},
            {"name": "a.count", "kind": "gauge"},
            "the name a.count, which Prometheus knows as a",
        ),
    ],
)
def test_two_metrics_under_one_name_are_a_conflict(
    first: dict[str, Any], second: dict[str, Any], text: str
) -> None:
    both = entries(first, second)
    ((entry, found),) = find_conflicts(both)
    assert entry is both[1]
    assert text in found


def test_names_that_nobody_confuses_are_no_conflict() -> None:
    assert [*find_conflicts(entries({"name": "a"}, {"name": "a_count"}, {"name": "b.a"}))] == []


def test_an_edition_has_a_limited_number_of_values() -> None:
    values = [str(number) for number in range(1000)]
    fits = [{"name": f"m{number}", "labels": {"a": values}} for number in range(4)]
    assert [*find_conflicts(entries(*fits))] == []
    with pytest.raises(ValueError, match=f"m4: a service may have {MAX_VALUES} values.* has 5000"):
        parse([{**ORDERS, **change} for change in (*fits, {**fits[0], "name": "m4"})])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)
ALMOST = st.builds(
    lambda which, field, value: [{**which, field: value}],
    st.sampled_from([ORDERS, WAITED, GAUGE]),
    st.sampled_from([*ORDERS, "more"]),
    ANYTHING,
)


@given(ANYTHING | ALMOST)
def test_whatever_a_template_says_it_is_metrics_or_refused(given_: Any) -> None:
    try:
        found = parse(given_)
    except ValueError as error:
        assert str(error)
    else:
        assert parse([entry.to_json() for entry in found]) == found

"""Columns that fit, and orders."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.cli.top.columns import CONNECTIONS, WORKERS, Column, Sorting, Table
from mpchat.cli.top.rows import Connection, Health, Row
from mpchat.ipc.reports import CONNECTION_NUMBERS

NUMBERS = st.none() | st.integers(0, 10**12)


def row(slot: int, **changes: Any) -> Row:
    plain = Row(slot, f"main/{slot}", 100 + slot, "ready", Health.FINE, 61.0, 0)
    return dataclasses.replace(plain, **changes)


ROWS = st.lists(
    st.builds(
        row,
        st.integers(0, 255),
        connections=NUMBERS,
        received=NUMBERS,
        memory=NUMBERS,
        state=st.sampled_from(["ready", "silent 12.5s", "stuck"]),
    )
)


def test_a_column_shows_what_its_rows_have() -> None:
    assert {column.field for column in WORKERS.columns} <= {*get_type_hints(Row)}
    assert {column.field for column in CONNECTIONS.columns} <= {*get_type_hints(Connection)}


@pytest.mark.parametrize("table", [WORKERS, CONNECTIONS])
def test_each_key_is_of_one_column(table: Table) -> None:
    letters = [column.letter for column in table.columns if column.letter]
    assert len(set(letters)) == len(letters)
    # These mean something else.
    assert not set(letters) & set("qpr?jk")
    assert {*table.expendable} < {column.title for column in table.columns}


def test_connections_are_sorted_by_what_the_service_can_sort_by() -> None:
    sortable = {column.field for column in CONNECTIONS.columns if column.letter}
    assert sortable == {*CONNECTION_NUMBERS}


@given(ROWS, st.integers(20, 250), st.sampled_from([column.title for column in WORKERS.columns]))
def test_a_narrower_terminal_has_no_column_that_a_wider_one_has_not(
    rows: list[Row], width: int, keep: str
) -> None:
    titles = [
        [column.title for column, _width in WORKERS.fitting(rows, keep, wide, 1)]
        for wide in (width, width + 1, 1000)
    ]
    assert {*titles[0]} <= {*titles[1]}
    assert {"WORKER", "STATE", "CONNS", keep} <= {*titles[0]}
    assert titles[2] == [column.title for column in WORKERS.columns]
    fitting = WORKERS.fitting(rows, keep, width, 1)
    if any(column.title in WORKERS.expendable and column.title != keep for column, _ in fitting):
        assert sum(own for _column, own in fitting) + len(fitting) - 1 <= width


@given(ROWS, st.sampled_from(WORKERS.columns), st.booleans())
def test_rows_without_a_value_come_last_either_way(
    rows: list[Row], column: Column, descending: bool
) -> None:
    sorting = Sorting(WORKERS, column.title, descending)
    found = sorting.sort(rows)
    assert sorted(map(id, found)) == sorted(map(id, rows))
    values = [getattr(one, sorting.field) for one in found]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=descending)


def test_a_letter_sorts_and_again_turns_it_round() -> None:
    sorting = Sorting(WORKERS, "WORKER", descending=False)
    by_connections = sorting.by_letter("c")
    assert by_connections == Sorting(WORKERS, "CONNS", descending=True)
    assert by_connections.by_letter("c") == Sorting(WORKERS, "CONNS", descending=False)
    assert by_connections.by_letter("w") == Sorting(WORKERS, "WORKER", descending=False)
    assert sorting.by_letter("z") is None


def test_arrows_pass_over_columns_that_nothing_sorts_by() -> None:
    sorting = Sorting(CONNECTIONS, "AGE", descending=True)
    assert sorting.moved(1).title == "IN"
    assert sorting.moved(-1).title == "UNSENT"
    for _ in range(len([column for column in CONNECTIONS.columns if column.letter])):
        sorting = sorting.moved(1)
    assert sorting.title == "AGE"

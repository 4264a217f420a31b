"""Distributions in the scoreboard."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.scoreboard.histogram import Histogram
from mpchat.scoreboard.histograms import TABLE, WIDTH, Distributed, Histograms, places
from mpchat.scoreboard.scoreboard import Scoreboard

BOUNDS = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=32, unique=True).map(sorted)
VALUES = st.lists(st.integers(0, 1 << 41))


def items_of(count: int) -> memoryview:
    return memoryview(bytearray(8 * count)).cast("Q")


@given(BOUNDS, VALUES, VALUES)
def test_every_value_is_in_its_range_and_in_the_sum(
    bounds: list[int], first: list[int], second: list[int]
) -> None:
    items = items_of(len(bounds) + 2)
    for values in (first, second):
        # Another writer continues what this one has counted.
        histogram = Histogram(bounds, items)
        for value in values:
            histogram.observe(value)
    expected = [0] * (len(bounds) + 1)
    for value in (*first, *second):
        expected[bisect_left(bounds, value)] += 1
    assert items.tolist() == [*expected, sum(first) + sum(second)]


def test_what_was_released_is_not_written() -> None:
    items = items_of(3)
    histogram = Histogram((1,), items)
    histogram.release()
    histogram.observe(7)
    assert items.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("bounds", "items"), [(range(33), 35), ((1, 2), 3), ((1, 2), 5)])
def test_items_have_to_fit_the_bounds(bounds: range, items: int) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Histogram(bounds, items_of(items))


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
def test_the_bounds_of_each_rise(one: Distributed) -> None:
    assert all(low < high for low, high in pairwise(one.bounds))


def test_rows_add_up_and_go_on() -> None:
    board = Scoreboard.create()
    for slot, row in ((0, 0), (2, 1), (0, 0)):
        histograms = board.histograms(slot, row)
        histograms.size.observe(16)
        histograms.handling.observe(10**9)
        histograms.release()
    found = board.distributed(3)
    assert board.distributed(2)[0:] != found
    board.close()
    by_name = {one.name: found[start : start + len(one.bounds) + 2] for one, start in places()}
    assert (by_name["message.size"][0], by_name["message.size"][-1]) == (3, 48)
    assert by_name["message.handling"][-2:] == [3, 3 * 10**9]
    assert sum(found) == 3 + 48 + 3 + 3 * 10**9
    assert len(found) == WIDTH


def test_a_name_is_that_of_its_table() -> None:
    histograms = Histograms.apart()
    names = {"handling", "lag", "handshake", "life", "size", "delivery"}
    assert {name for name in vars(histograms) if not name.startswith("_")} == names
    assert {one.name.rpartition(".")[2] for one in TABLE} == names

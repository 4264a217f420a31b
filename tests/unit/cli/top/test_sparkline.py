"""Numbers over time in a few characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpchat.cli.top.sparkline import ASCII, BLOCKS, buckets, sparkline

VALUES = st.floats(0, 1e9)


def test_the_largest_of_each_part_is_shown() -> None:
    samples = [(1.0, 5.0), (12.0, 3.0), (14.0, 4.0), (29.5, 0.0)]
    assert buckets(samples, now=30.0, seconds=30.0, count=3) == [5.0, 4.0, 0.0]
    assert sparkline([5.0, None, 0.0], 5.0) == "█ ▁"
    assert sparkline([5.0, None, 0.0], 5.0, ASCII) == "@ _"


def test_what_is_older_or_to_come_has_no_part() -> None:
    assert buckets([(0.0, 1.0), (40.0, 1.0)], now=35.0, seconds=30.0, count=3) == [None] * 3


@given(st.lists(VALUES, min_size=2), VALUES)
def test_more_is_never_lower(values: list[float], most: float) -> None:
    line = sparkline(sorted(values), max(most, *values))
    assert len(line) == len(values)
    levels = [BLOCKS.index(char) for char in line]
    assert levels == sorted(levels)
    # Only what is nothing looks like nothing.
    assert [level == 0 for level in levels] == [value == 0 for value in sorted(values)]


@given(st.lists(st.tuples(st.floats(0, 1000), VALUES)), st.integers(1, 80))
def test_no_sample_is_lost_and_none_is_made_up(
    samples: list[tuple[float, float]], count: int
) -> None:
    found = buckets(samples, now=1000.0, seconds=300.0, count=count)
    within = [value for at, value in samples if at > 700.0]
    assert len(found) == count
    assert max((value for value in found if value is not None), default=None) == max(
        within, default=None
    )

"""Workers that fill equally do not look for garbage at the same moment."""

from __future__ import annotations

import gc
import itertools

from hypothesis import given
from hypothesis import strategies as st

from mpchat.scoreboard.scoreboard import SLOTS
from mpchat.worker.garbage import full_threshold, spread_collections

LEAST = 50


@given(st.integers(min_value=2, max_value=32))
def test_the_full_collections_of_some_workers_are_spread(workers: int) -> None:
    found = sorted(full_threshold(LEAST, slot) for slot in range(workers))
    steps = [later - sooner for sooner, later in itertools.pairwise(found)]
    # Evenly they would be LEAST / workers apart.
    assert min(steps) >= LEAST // workers // 2
    assert found[0] == LEAST


def test_none_is_more_than_twice_as_late() -> None:
    found = [full_threshold(LEAST, slot) for slot in range(SLOTS)]
    assert LEAST <= min(found) <= max(found) <= 2 * LEAST


def test_only_full_collections_are_put_off() -> None:
    before = gc.get_threshold()
    try:
        spread_collections(1)
        assert gc.get_threshold() == (*before[:2], full_threshold(before[2], 1))
    finally:
        gc.set_threshold(*before)

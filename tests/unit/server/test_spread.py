from __future__ import annotations

from collections import Counter

import pytest

from mpchat.server.spread import closing_times


def test_closes_are_spread_over_the_window_each_in_its_share() -> None:
    times = closing_times(1000, window=5, deadline=10)
    assert all(index * 0.005 <= at < (index + 1) * 0.005 for index, at in enumerate(times))
    assert len({round(at % 0.005, 9) for at in times}) > 900


@pytest.mark.parametrize(("count", "last"), [(0, None), (1, 0.005), (200, 1.995)])
def test_a_few_connections_are_done_at_once(count: int, last: float | None) -> None:
    times = closing_times(count, window=5, deadline=10, random_part=lambda: 0.5)
    assert len(times) == count
    assert times[-1:] == ([] if last is None else [pytest.approx(last)])


def test_a_window_leaves_the_deadline_to_the_last_ones() -> None:
    assert max(closing_times(10_000, window=20, deadline=10)) < 8


def test_workers_that_end_together_do_not_close_in_step() -> None:
    workers = [closing_times(2500, window=20, deadline=30) for _ in range(4)]
    found = Counter(int(at / 0.1) for times in workers for at in times)
    assert max(found.values()) <= 1.5 * 10_000 / 200

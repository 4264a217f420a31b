"""Who stands still, and who only seems to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpchat.supervisor.heartbeats import LOOK_SECONDS, Heartbeats


def test_a_counter_that_stands_still_is_stale() -> None:
    heartbeats = Heartbeats()
    for step in range(41):
        heartbeats.look({1: step, 2: 7}, 100 + step * LOOK_SECONDS)
    assert heartbeats.stale(1) == 0
    assert heartbeats.stale(2) == heartbeats.longest() == 10
    heartbeats.look({1: 50, 2: 8}, 110.25)
    assert heartbeats.longest() == 0


def test_a_late_look_starts_all_counts_anew() -> None:
    heartbeats = Heartbeats()
    for step in range(40):
        heartbeats.look({1: 7}, 100 + step * LOOK_SECONDS)
    # The whole tree was stopped for an hour: nobody could beat.
    heartbeats.look({1: 7}, 3700)
    assert heartbeats.longest() == 0


def test_a_worker_that_is_gone_is_forgotten() -> None:
    heartbeats = Heartbeats()
    for step in range(40):
        heartbeats.look({1: 7}, 100 + step * LOOK_SECONDS)
    heartbeats.look({}, 110.25)
    assert heartbeats.longest() == heartbeats.stale(1) == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 5.0)), max_size=50))
def test_staleness_is_never_longer_than_the_looks_in_time_saw(
    looks: list[tuple[bool, float]],
) -> None:
    heartbeats = Heartbeats()
    now, beat, longest = 100.0, 0, 0.0
    heartbeats.look({1: beat}, now)
    for beats, wait in looks:
        now += wait
        beat += beats
        heartbeats.look({1: beat}, now)
        longest = 0.0 if beats or wait > 3 * LOOK_SECONDS else longest + wait
        assert abs(heartbeats.stale(1) - longest) < 1e-6

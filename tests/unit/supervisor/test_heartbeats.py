"""Who stands still, and who only seems to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpchat.supervisor.heartbeats import LOOK_SECONDS, Beat, Heartbeats

PATIENCE = 0.75


def looked(*looks: tuple[dict[int, Beat], float]) -> Heartbeats:
    heartbeats = Heartbeats(PATIENCE)
    for beats, now in looks:
        heartbeats.look(beats, now)
    return heartbeats


def standing_still(steps: int) -> Heartbeats:
    """Two workers over so many looks in time: 1 beats, 2 does not."""
    return looked(
        *(
            ({1: Beat(step, 100 + step * LOOK_SECONDS), 2: Beat(7, 99)}, 100 + step * LOOK_SECONDS)
            for step in range(steps)
        )
    )


def test_a_counter_that_stands_still_is_stale() -> None:
    heartbeats = standing_still(41)
    assert heartbeats.stale(1) == 0
    assert heartbeats.stale(2) == heartbeats.longest() == 10
    heartbeats.look({1: Beat(50, 110.25), 2: Beat(8, 110.25)}, 110.25)
    assert heartbeats.longest() == 0


def test_a_worker_is_stale_from_its_last_beat_on_and_looked_at_when_that_matters() -> None:
    heartbeats = looked(
        ({1: Beat(1, 99.9)}, 100.0), ({1: Beat(2, 100.15)}, 100.25), ({1: Beat(2, 100.15)}, 100.5)
    )
    assert abs(heartbeats.stale(1) - 0.35) < 1e-9
    assert heartbeats.next_look == 100.75
    heartbeats.look({1: Beat(2, 100.15)}, 100.75)
    # Not at the next regular look but as soon as the patience is over.
    assert abs(heartbeats.next_look - 100.9) < 1e-9
    heartbeats.look({1: Beat(2, 100.15)}, 100.9)
    assert heartbeats.next_look == 101.15


def test_a_late_look_starts_all_counts_anew() -> None:
    heartbeats = standing_still(40)
    # The whole tree was stopped for an hour: nobody could beat.
    heartbeats.look({1: Beat(39, 110), 2: Beat(7, 99)}, 3700)
    assert heartbeats.longest() == 0


def test_a_worker_that_is_gone_is_forgotten() -> None:
    heartbeats = standing_still(40)
    heartbeats.look({}, 110.25)
    assert heartbeats.longest() == heartbeats.stale(2) == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 5.0)), max_size=50))
def test_staleness_is_never_longer_than_the_looks_in_time_saw(
    looks: list[tuple[bool, float]],
) -> None:
    heartbeats = Heartbeats(PATIENCE)
    now, beat, longest = 100.0, Beat(0, 100.0), 0.0
    heartbeats.look({1: beat}, now)
    for beats, wait in looks:
        now += wait
        if beats:
            beat = Beat(beat.count + 1, now)
        heartbeats.look({1: beat}, now)
        longest = 0.0 if beats or wait > 3 * LOOK_SECONDS else longest + wait
        assert abs(heartbeats.stale(1) - longest) < 1e-6
        assert now < heartbeats.next_look <= now + LOOK_SECONDS

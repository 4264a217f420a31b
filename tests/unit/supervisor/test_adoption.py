"""Who helps whom, whatever happens to workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpchat.supervisor.adoption import Adoption, Change, Helper

A, B, C, D = (Helper(10 + slot, slot) for slot in range(4))


def test_a_neighbour_helps_until_the_slots_own_worker_is_back() -> None:
    adoption = Adoption()
    assert adoption.assign([], [A, B, C, D], 4) == []
    assert adoption.assign([1], [A, C, D], 4) == [Change(12, 1, begins=True)]
    assert adoption.helper_of(1) == C
    assert adoption.assign([1], [A, C, D], 4) == []
    assert adoption.assign([], [A, B, C, D], 4) == [Change(12, 1, begins=False)]
    assert adoption.helper_of(1) is None


def test_adopted_slots_spread() -> None:
    adoption = Adoption()
    begun = adoption.assign(range(2, 8), [A, B], 8)
    assert sorted(change.worker for change in begun) == [10] * 3 + [11] * 3
    # One more helper takes what is new, and nothing is moved for the sake of it.
    assert adoption.assign(range(3, 9), [A, B, C], 9) == [
        Change(begun[0].worker, 2, begins=False),
        Change(12, 8, begins=True),
    ]


def test_a_helper_that_cannot_help_any_more_is_replaced() -> None:
    adoption = Adoption()
    adoption.assign([0], [B, C], 3)
    assert adoption.assign([0, 1], [C], 3) == [
        Change(11, 0, begins=False),
        Change(12, 0, begins=True),
        Change(12, 1, begins=True),
    ]
    adoption.refused(12, 1)
    adoption.refused(12, 7)
    adoption.refused(11, 0)
    assert adoption.assign([0, 1], [C], 3) == [Change(12, 1, begins=True)]


def test_without_any_helper_nobody_is_asked() -> None:
    adoption = Adoption()
    adoption.assign([0], [B], 2)
    assert adoption.assign([0, 1], [], 2) == [Change(11, 0, begins=False)]
    assert adoption.assign([0], [B], 2) == [Change(11, 0, begins=True)]


@given(st.integers(1, 8), st.lists(st.sets(st.integers(0, 7)), max_size=20))
def test_every_slot_is_served_once_and_told_changes_add_up(
    slots: int, steps: list[set[int]]
) -> None:
    adoption = Adoption()
    serving: set[tuple[int, int]] = set()
    for step in steps:
        able = {slot for slot in step if slot < slots}
        needy = set(range(slots)) - able
        for change in adoption.assign(needy, [Helper(10 + slot, slot) for slot in able], slots):
            pair = (change.worker, change.slot)
            assert (pair in serving) is not change.begins
            (serving.add if change.begins else serving.remove)(pair)
        if able:
            assert sorted(slot for _worker, slot in serving) == sorted(needy)
            counts = [sum(worker == 10 + slot for worker, _ in serving) for slot in able]
            assert sum(counts) == len(needy)
        else:
            assert not serving

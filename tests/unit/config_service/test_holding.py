"""What an answer makes of what was held."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.config_service.answer import Answer
from mpchat.config_service.errors import UpdateFailed
from mpchat.config_service.holding import Held, Merged, take_full, take_incremental
from mpchat.config_service.options import Deduplication

HELD = Held({"A": 1, "B": 2}, "2")
KNOWN = ("A", "B")
BOTH: Deduplication = "full-and-incremental"


def test_a_full_answer_replaces_everything() -> None:
    answer = Answer({"B": 3, "UNKNOWN": None}, "1", removed=("B",))
    expected = Merged(Held({"B": 3, "UNKNOWN": None}, "1"), changed=True)
    assert take_full(HELD, answer, KNOWN, BOTH) == expected


def test_the_first_one_is_a_change_even_if_empty() -> None:
    assert take_full(None, Answer({}, ""), KNOWN, BOTH) == Merged(Held({}, ""), changed=True)


def test_an_incremental_answer_is_laid_over_what_is_held() -> None:
    answer = Answer({"B": 3, "C": 4}, "3", removed=("A", "C", "NEVER"))
    merged = take_incremental(HELD, answer, KNOWN, BOTH)
    assert merged == Merged(Held({"B": 3}, "3"), changed=True)


def test_a_time_that_runs_backwards_drops_the_answer() -> None:
    answer = Answer({"A": 5}, "1", removed=("B",), disabled=("NEVER",))
    assert take_incremental(HELD, answer, KNOWN, "none") == Merged(HELD, changed=False)


@pytest.mark.parametrize(
    ("held", "answered", "dropped"),
    [
        ("2021-06-29T14:15:31.5Z", "2021-06-29T14:15:31Z", False),
        ("2021-06-29T14:15:31.5+0000", "2021-06-29T14:15:31+0000", True),
        ("same", "same", False),
        ("é", "z", True),
        ("z", "é", False),
        ("\uffff", "\U00010000", False),
    ],
)
def test_times_compare_byte_by_byte(held: str, answered: str, dropped: bool) -> None:
    assert (answered.encode() < held.encode()) is dropped
    merged = take_incremental(Held({}, held), Answer({"A": 1}, answered), KNOWN, BOTH)
    assert merged.held.updated_at == (held if dropped else answered)
    assert merged.changed is not dropped


@pytest.mark.parametrize("deduplicate", ["none", BOTH])
def test_an_answer_that_says_nothing_moves_the_time(deduplicate: Deduplication) -> None:
    merged = take_incremental(HELD, Answer({}, "3"), KNOWN, deduplicate)
    assert merged == Merged(Held(HELD.values, "3"), changed=False)


@pytest.mark.parametrize(
    ("deduplicate", "full", "incremental"),
    [
        ("none", True, True),
        ("only-full", False, True),
        ("only-incremental", True, False),
        ("full-and-incremental", False, False),
    ],
)
def test_the_same_content_is_no_change_if_so_asked(
    deduplicate: Deduplication, full: bool, incremental: bool
) -> None:
    answer = Answer({"B": 2, "A": 1}, "3")
    expected = Held(HELD.values, "3")
    assert take_full(HELD, answer, KNOWN, deduplicate) == Merged(expected, full)
    assert take_incremental(HELD, answer, KNOWN, deduplicate) == Merged(expected, incremental)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_values_that_python_takes_for_equal_are_not(value: object) -> None:
    assert take_full(HELD, Answer({"A": value, "B": 2}, "3"), KNOWN, BOTH).changed


def test_a_kill_switch_that_is_off_brings_the_default_back() -> None:
    answer = Answer({"A": 5}, "3", disabled=("A", "B"))
    off = Merged(Held({}, "3"), changed=True)
    assert take_full(HELD, answer, KNOWN, BOTH) == off
    assert take_incremental(HELD, answer, KNOWN, BOTH) == off
    alone = Answer({}, "3", disabled=("A",))
    assert take_incremental(HELD, alone, KNOWN, BOTH) == Merged(Held({"B": 2}, "3"), changed=True)
    # It comes back only when the service sends it again.
    again = take_incremental(Held({}, "3"), Answer({}, "4"), KNOWN, BOTH)
    assert again == Merged(Held({}, "4"), changed=False)


def test_a_kill_switch_of_a_variable_without_a_default_is_a_mistake() -> None:
    answer = Answer({}, "3", disabled=("ELSEWHERE",))
    for take in (take_full, take_incremental):
        with pytest.raises(UpdateFailed, match='static default here, got "ELSEWHERE"'):
            take(HELD, answer, KNOWN, BOTH)


CHANGES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("ABCD"), st.none() | st.integers(0, 2) | st.booleans()),
        st.sampled_from(["full", "incremental", "none"]),
    )
)


@given(CHANGES, st.sampled_from(["none", "only-full", "only-incremental", BOTH]))
def test_whoever_follows_a_service_holds_what_it_has(
    changes: list[tuple[dict[str, Any], str]], deduplicate: Deduplication
) -> None:
    """The service has a log of changes; None removes a name. Answers cover all since the last one."""
    there: dict[str, Any] = {}
    log: list[dict[str, Any]] = []
    held: Held | None = None
    applied: dict[str, Any] = {}
    for change, update in changes:
        log.append(change)
        there = {name: v for name, v in {**there, **change}.items() if v is not None}
        if update == "none":
            continue
        now = f"{len(log):06}"
        if held is None or update == "full":
            merged = take_full(held, Answer(there, now), KNOWN, deduplicate)
        else:
            since = {k: v for one in log[int(held.updated_at) :] for k, v in one.items()}
            answer = Answer(
                {name: v for name, v in since.items() if v is not None},
                now,
                removed=tuple(name for name, v in since.items() if v is None),
            )
            merged = take_incremental(held, answer, KNOWN, deduplicate)
        if merged.changed:
            applied = dict(merged.held.values)
        held = merged.held
        assert held == Held(there, now)
        assert repr(sorted(applied.items())) == repr(sorted(there.items()))

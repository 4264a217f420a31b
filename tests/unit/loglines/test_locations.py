"""Which loggers are forced on or off: the last that was said about them."""

from __future__ import annotations

import pytest

from mpchat.loglines.locations import BY_LEVEL, OFF, ON, set_state, state_of


def table(*said: tuple[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for location, state in said:
        set_state(found, location, state)
    return found


@pytest.mark.parametrize(
    ("said", "states"),
    [
        ((), {"a": BY_LEVEL, "": BY_LEVEL}),
        ((("a.b", ON),), {"a": BY_LEVEL, "a.b": ON, "a.b.c": ON, "a.bc": BY_LEVEL}),
        ((("a", ON), ("a.b", OFF)), {"a": ON, "a.b": OFF, "a.b.c": OFF, "a.c": ON}),
        ((("a.b", OFF), ("a", ON)), {"a": ON, "a.b": ON}),
        ((("a", ON), ("a.b", BY_LEVEL)), {"a": ON, "a.b": BY_LEVEL, "a.b.c": BY_LEVEL}),
        ((("", OFF), ("a", ON)), {"": OFF, "b": OFF, "a.b": ON}),
        ((("a", ON), ("", BY_LEVEL)), {"a": BY_LEVEL}),
    ],
)
def test_what_was_said_last_counts_for_all_below(
    said: tuple[tuple[str, int], ...], states: dict[str, int]
) -> None:
    found = table(*said)
    assert {logger: state_of(logger, found) for logger in states} == states


def test_what_changes_nothing_is_not_kept() -> None:
    assert table(("a", ON), ("a.b", ON), ("c", BY_LEVEL)) == {"a": ON}
    assert table(("a", ON), ("a.b", OFF), ("a", BY_LEVEL)) == {}

"""Keys and what they choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpchat.cli.top.choices import Choices
from mpchat.cli.top.rows import Row, worker_rows
from tests.kit.statuses import status, worker


def rows(*slots: int, pids: int = 100) -> list[Row]:
    return [*worker_rows(status(*(worker(slot, pid=pids + slot) for slot in slots)))]


def press(choices: Choices, keys: str | list[str], found: list[Row], connections: int = 0) -> None:
    for key in keys:
        choices.press(key, found, connections)


def test_a_chosen_worker_stays_chosen() -> None:
    choices = Choices()
    assert choices.chosen(rows(0, 1, 2)) == 0
    press(choices, ["down", "down"], rows(0, 1, 2))
    assert choices.chosen(rows(0, 1, 2)) == 2
    assert choices.chosen(rows(2, 0, 1)) == 0
    # Its successor has another pid.
    assert choices.chosen(rows(2, 0, 1, pids=500)) == 0
    # It has none.
    assert choices.chosen(rows(0, 1)) == 0


def test_the_ends_of_the_table_hold() -> None:
    choices, found = Choices(), rows(0, 1, 2)
    press(choices, ["up"], found)
    assert choices.chosen(found) == 0
    press(choices, ["pagedown", "down"], found)
    assert choices.chosen(found) == 2
    press(choices, ["home"], found)
    assert choices.chosen(found) == 0
    press(choices, ["end", "k"], found)
    assert choices.chosen(found) == 1


def test_connections_are_opened_scrolled_and_left() -> None:
    choices, found = Choices(), rows(0, 1)
    press(choices, ["j", "enter"], found)
    assert choices.opened == 1
    press(choices, ["down", "pagedown"], found, 5)
    assert choices.scrolled == 4
    press(choices, ["u"], found, 5)
    assert choices.connections.title == "UNSENT"
    assert choices.workers.title == "WORKER"
    press(choices, ["escape", "u"], found)
    assert choices.opened is None
    assert choices.workers.title == "CPU"
    press(choices, ["enter"], found)
    assert (choices.opened, choices.scrolled) == (1, 0)


def test_what_has_stopped_goes_on_when_connections_are_opened() -> None:
    choices = Choices()
    press(choices, ["p", "enter"], rows(0))
    assert not choices.is_paused
    assert choices.opened == 0


def test_any_key_ends_the_help_and_does_nothing_else() -> None:
    choices = Choices()
    press(choices, ["?", "c"], rows(0))
    assert not choices.has_help
    assert choices.workers.title == "WORKER"
    press(choices, ["?", "q"], rows(0))
    assert choices.is_over


KEYS = st.sampled_from(
    [*"qpr?jkcdmx ", *("up", "down", "left", "right", "home", "end"), "enter", "escape"]
)


@given(
    st.lists(st.tuples(KEYS, st.sets(st.integers(0, 5)), st.integers(0, 50))),
)
def test_every_key_is_fine_at_every_time(
    typed: list[tuple[str, set[int], int]],
) -> None:
    choices = Choices()
    for key, slots, connections in typed:
        found = choices.workers.sort(rows(*slots))
        choices.press(key, found, connections)
        assert choices.chosen(found) in range(max(1, len(found)))
    assert choices.is_over == any(key == "q" for key, _slots, _count in typed)

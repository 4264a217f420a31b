"""The table of a connection's phases: it is complete, leads one way, and says Close once.

The functional tests and the differential test show that what it says is what RFC 6455 wants.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.websocket import protocol
from mpchat.websocket.phases import MOVABLE, TABLE, Action, Event, Phase

ENDED = (Event.INPUT_ENDED, Event.INPUT_ENDED_EARLY)
IMPOSSIBLE = {
    # Before an end begins the timer is keepalive's.
    (Phase.OPEN, Event.TIMEOUT),
    (Phase.DRAINING, Event.TIMEOUT),
    # Behind the end of its input nothing of a client's is parsed.
    *itertools.product((Phase.OWED, Phase.LINGERING, Phase.LOST), ENDED),
    # Once our Close has left no answer is owed.
    (Phase.CLOSING, Event.INPUT_ENDED_EARLY),
    # A closed socket has no timer and no end, and is closed once.
    (Phase.LOST, Event.TIMEOUT),
    (Phase.LOST, Event.END_OF_FILE),
    (Phase.LOST, Event.LOST),
}
WRITES = {Action.ANSWER, Action.SEND_CLOSE}


def test_every_pair_is_decided_or_impossible() -> None:
    assert set(TABLE) | IMPOSSIBLE == set(itertools.product(Phase, Event))
    assert not set(TABLE) & IMPOSSIBLE


def test_no_cell_leads_back() -> None:
    assert all(cell.phase >= phase for (phase, _event), cell in TABLE.items())


def test_every_phase_is_left_by_the_loss_of_its_socket() -> None:
    for phase in Phase:
        if phase is not Phase.LOST:
            assert TABLE[phase, Event.LOST] == (Phase.LOST, (Action.RELEASE,))


@pytest.mark.parametrize("phase", [Phase.OWED, Phase.CLOSING, Phase.LINGERING])
def test_every_end_that_waits_for_somebody_has_a_time(phase: Phase) -> None:
    cell = TABLE[phase, Event.TIMEOUT]
    assert cell.phase > phase or Action.ABORT_SOCKET in cell.actions


def test_a_close_leaves_exactly_on_the_way_into_closing_or_from_before_it_to_lingering() -> None:
    for (phase, _event), cell in TABLE.items():
        leaves = cell.phase in (Phase.CLOSING, Phase.LINGERING) and phase < Phase.CLOSING
        assert bool(WRITES & set(cell.actions)) == leaves


def test_the_end_is_told_on_the_way_into_lingering_and_lost() -> None:
    for (phase, _event), cell in TABLE.items():
        if cell.phase is Phase.LINGERING and phase is not Phase.LINGERING:
            assert cell.actions[-2:] == (Action.FINISH, Action.HALF_CLOSE)
        else:
            assert Action.FINISH not in cell.actions


def test_what_may_move_can_still_be_read_and_written() -> None:
    for phase in MOVABLE:
        assert TABLE[phase, Event.CLOSE].phase is Phase.CLOSING


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(Event), max_size=30))
def test_whatever_happens_one_close_leaves_and_the_socket_is_lost_once(
    events: list[Event],
) -> None:
    phase, done = Phase.OPEN, list[Action]()
    for event in (*events, Event.LOST):
        if (phase, event) in IMPOSSIBLE:
            with pytest.raises(KeyError):
                TABLE[phase, event]
            continue
        phase, actions = TABLE[phase, event]
        done += actions
    assert phase is Phase.LOST
    assert done.count(Action.RELEASE) == 1
    closes = [action for action in done if action in WRITES]
    assert len(closes) <= 1
    if closes:
        # Nothing is sent behind a Close, and no socket is half-closed before it.
        assert Action.HOLD_BACK not in done[done.index(closes[0]) :]
        assert Action.HALF_CLOSE not in done[: done.index(closes[0])]


def test_every_action_can_be_done() -> None:
    assert set(protocol._DEEDS) == set(Action)

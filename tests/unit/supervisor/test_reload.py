"""A reload: its table is complete, everybody who asked is told once, and no sequence breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.supervisor.reload import (
    TABLE,
    AskTemplate,
    Begin,
    Discard,
    End,
    Event,
    Install,
    Outcome,
    Phase,
    Reload,
    ReplaceTemplate,
)
from mpchat.supervisor.timing import Timing

# A limit runs only while something is under way, workers confirm only what they were given, and a
# restart begins only when no reload is under way and ends only after it has begun.
IMPOSSIBLE = {
    (Phase.IDLE, Event.OVERDUE),
    (Phase.IDLE, Event.SETTLED),
    (Phase.IDLE, Event.RELEASE),
    (Phase.LOADING, Event.SETTLED),
    (Phase.LOADING, Event.HOLD),
    (Phase.LOADING, Event.RELEASE),
    (Phase.APPLYING, Event.HOLD),
    (Phase.APPLYING, Event.RELEASE),
    (Phase.HELD, Event.OVERDUE),
    (Phase.HELD, Event.SETTLED),
    (Phase.HELD, Event.HOLD),
}
LIMIT = Timing().reload_limit


def nobody(reason: str) -> None:
    raise AssertionError


def make(*events: Event) -> Reload:
    reload = Reload(Timing())
    for event in events:
        reload.on(event, 0.0)
    return reload


def test_every_pair_is_decided_or_impossible() -> None:
    assert set(TABLE) | IMPOSSIBLE == set(itertools.product(Phase, Event))
    assert not set(TABLE) & IMPOSSIBLE


def test_an_impossible_pair_raises() -> None:
    with pytest.raises(KeyError):
        make(Event.ASKED).on(Event.HOLD, 0.0)


def test_a_reload_reads_gives_and_ends() -> None:
    reload = make()
    assert reload.on(Event.ASKED, 1.0, askers=[nobody]) == [Begin(), AskTemplate()]
    assert (reload.phase, reload.due) == (Phase.LOADING, 1.0 + LIMIT)
    assert reload.on(Event.LOADED, 2.0) == [Install()]
    assert (reload.phase, reload.due) == (Phase.APPLYING, 2.0 + Timing().apply_limit)
    assert reload.on(Event.SETTLED, 3.0) == [End(Outcome.APPLIED, "", (nobody,))]
    assert (reload.phase, reload.due) == (Phase.IDLE, None)


def test_a_mistake_ends_it_and_the_old_generation_stays() -> None:
    reload = make(Event.ASKED)
    assert reload.on(Event.FAILED, 1.0, "wrong") == [End(Outcome.FAILED, "wrong", ())]


def test_workers_that_do_not_confirm_end_it_with_their_names() -> None:
    reload = make(Event.ASKED, Event.LOADED)
    assert reload.on(Event.OVERDUE, 9.0, "a\nb") == [End(Outcome.UNCONFIRMED, "a\nb", ())]


def test_requests_meanwhile_are_one_reload_afterwards() -> None:
    reload = make(Event.ASKED)
    assert reload.on(Event.ASKED, 1.0, askers=[nobody]) == []
    assert reload.on(Event.ASKED, 1.0) == []
    assert reload.on(Event.LOADED, 2.0) == [Install()]
    assert reload.on(Event.ASKED, 2.0, askers=[nobody]) == []
    first, *rest = reload.on(Event.SETTLED, 3.0)
    assert first == End(Outcome.APPLIED, "", ())
    assert rest == [Begin(), AskTemplate()]
    assert reload.on(Event.FAILED, 4.0, "") == [End(Outcome.FAILED, "", (nobody, nobody))]


def test_a_template_that_is_late_goes_before_the_next_one_is_asked() -> None:
    reload = make(Event.ASKED, Event.ASKED)
    assert [type(action) for action in reload.on(Event.OVERDUE, LIMIT)] == [
        ReplaceTemplate,
        End,
        Begin,
        AskTemplate,
    ]


def test_the_question_is_repeated_once_to_a_template_that_replaces_a_dead_one() -> None:
    reload = make(Event.ASKED)
    assert reload.on(Event.TEMPLATE_ENDED, 1.0, "exit status 1") == []
    assert reload.on(Event.TEMPLATE_READY, 2.0) == [AskTemplate()]
    reason = "reading it ended the template 2 times: exit status 2"
    assert reload.on(Event.TEMPLATE_ENDED, 3.0, "exit status 2") == [
        End(Outcome.FAILED, reason, ())
    ]
    # Deaths are counted for each reload by itself.
    reload.on(Event.ASKED, 4.0)
    assert reload.on(Event.TEMPLATE_ENDED, 5.0, "exit status 1") == []


def test_an_answer_that_comes_too_late_is_discarded() -> None:
    assert make().on(Event.LOADED, 1.0) == [Discard()]
    assert make(Event.ASKED, Event.LOADED).on(Event.LOADED, 1.0) == [Discard()]
    assert make(Event.HOLD).on(Event.LOADED, 1.0) == [Discard()]


def test_what_is_asked_during_a_restart_waits_for_its_end() -> None:
    reload = make(Event.HOLD)
    assert reload.on(Event.ASKED, 1.0, askers=[nobody]) == []
    assert reload.on(Event.RELEASE, 2.0) == [Begin(), AskTemplate()]
    assert make(Event.HOLD).on(Event.RELEASE, 2.0) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(Event), max_size=60))
def test_no_sequence_of_possible_events_breaks_it(events: list[Event]) -> None:
    reload = make()
    told: dict[int, int] = {}
    asked_at: dict[int, int] = {}
    begun = -1

    def asker(number: int) -> Callable[[str], None]:
        def tell(reason: str) -> None:
            told[number] = told.get(number, 0) + 1
            assert begun >= asked_at[number], "answered by a reload that began before the question"

        return tell

    def carry_out(step: int, event: Event, number: int = -1) -> None:
        nonlocal begun
        askers = [asker(number)] if number >= 0 else []
        for action in reload.on(event, float(step), "why", askers):
            if isinstance(action, End):
                for tell in action.askers:
                    tell(action.reason)
            elif isinstance(action, Begin):
                begun = step
        assert reload.is_under_way == (reload.due is not None)

    for step, event in enumerate(events):
        if (reload.phase, event) not in TABLE:
            continue
        if event is Event.ASKED:
            asked_at[step] = step
        carry_out(step, event, step if event is Event.ASKED else -1)
    end = len(events)
    ways_out = {
        Phase.HELD: Event.RELEASE,
        Phase.LOADING: Event.LOADED,
        Phase.APPLYING: Event.SETTLED,
    }
    while reload.phase is not Phase.IDLE:
        carry_out(end, ways_out[reload.phase])
    assert told == dict.fromkeys(asked_at, 1)

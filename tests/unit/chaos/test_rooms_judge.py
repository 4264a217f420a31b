"""The judge of rooms: a history without faults pleases it, and each planted fault is seen."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos import rooms_judge as judge
from tests.chaos.rooms_judge import Kept
from tests.chaos.sightings import MILLION, Ack, Answer, Notes, Publish, Refusal, Visit

KEPT = Kept(messages=4, size=1000)
BARS: dict[str, Callable[[Notes], list[str]]] = {
    "one_order": judge.one_order,
    "none_doubled": lambda notes: judge.none_doubled(notes, KEPT),
    "none_missed": judge.none_missed,
    "told_truly": lambda notes: judge.told_truly(notes, KEPT),
    "in_publishers_order": lambda notes: judge.in_publishers_order(notes, KEPT),
    "first_answer_stands": lambda notes: judge.first_answer_stands(notes, KEPT),
    "all_acknowledged": judge.all_acknowledged,
    "all_in_time": judge.all_in_time,
    "all_back": judge.all_back,
    "none_sent_away": judge.none_sent_away,
    "presence_is_right": lambda notes: judge.presence_is_right(notes, {KILLED}),
}
KILLED = 77
"""A worker"""
ONE, TWO = MILLION, 2 * MILLION
SPOKEN = {10: ONE + 1, 20: TWO + 1, 30: ONE + 2, 40: TWO + 2, 50: ONE + 3, 60: TWO + 3}
"""What the room "a" has: two members speak in turn, each second from 1 on."""


def visit(number: int, member: int, start: int, *offsets: int, since: str = "") -> Visit:
    found = Visit(number, 0.0, member=member, room="a", since=since)
    found.joined, found.epoch, found.offset, found.recovered = 0.5, "e", start, True
    found.offsets = list(offsets)
    found.messages = [SPOKEN[offset] for offset in offsets]
    return found


def history() -> Notes:
    """Two members that see everything, the second of them in two visits."""
    first = visit(1, 1, 0, *SPOKEN)
    second = visit(2, 2, 0, 10, 20)
    third = visit(3, 2, 20, 30, 40, 50, 60, since="e:20:0")
    first.stayed = third.stayed = True
    second.ended, third.began, third.joined = 3.5, 3.6, 3.7
    publishes = [
        Publish(message, "a", second - 0.1, 1, [Ack(1 if message < TWO else 2, offset, second)])
        for second, (offset, message) in enumerate(SPOKEN.items(), start=1)
    ]
    answers = [Answer("a", 2.0, 2.1, [1, 2]), Answer("a", 6.0, 6.1, [1, 3])]
    return Notes([first, second, third], publishes, answers)


def missed(notes: Notes) -> set[str]:
    return {name for name, bar in BARS.items() if bar(notes)}


def test_a_history_without_faults_pleases_every_bar() -> None:
    assert missed(history()) == set()


def test_notes_travel() -> None:
    file = io.StringIO()
    notes = history()
    notes.publishes[0].refusals = [Refusal("rate", 0.5)]
    notes.write(file)
    file.seek(0)
    arrived = Notes()
    arrived.add(file)
    assert arrived == notes


def test_two_messages_at_one_offset_are_no_order() -> None:
    notes = history()
    notes.visits[2].messages[-1] = TWO + 9
    assert missed(notes) == {"one_order"}


def test_an_answer_that_names_another_messages_offset_is_no_order() -> None:
    notes = history()
    notes.publishes[2].acks[0].offset = 40
    assert "one_order" in missed(notes)


def test_a_message_seen_again_is_seen() -> None:
    notes = history()
    notes.visits[2].offsets.insert(2, 40)
    notes.visits[2].messages.insert(2, SPOKEN[40])
    assert "one_order" in missed(notes)


def test_messages_that_come_out_of_order_are_seen() -> None:
    notes = history()
    for values in (notes.visits[0].offsets, notes.visits[0].messages):
        values[1], values[2] = values[2], values[1]
    assert "one_order" in missed(notes)


def test_a_visit_that_begins_before_what_was_seen_shows_messages_again() -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 10, 20, 30, 40, 50, 60, since="e:20:0")
    notes.visits[2].joined, notes.visits[2].stayed = 3.7, True
    assert missed(notes) >= {"one_order", "told_truly"}


def test_a_message_stored_twice_is_seen() -> None:
    notes = history()
    for each in (notes.visits[0], notes.visits[2]):
        each.offsets.append(70)
        each.messages.append(SPOKEN[50])
    assert missed(notes) == {"none_doubled"}


def test_a_message_may_be_stored_again_when_the_rooms_history_is_over() -> None:
    notes = history()
    for each in (notes.visits[0], notes.visits[2]):
        each.offsets.append(70)
        each.messages.append(SPOKEN[10])
    assert missed(notes) == set()


@pytest.mark.parametrize("index", range(6))
def test_a_message_that_one_member_did_not_see_is_missed(index: int) -> None:
    notes = history()
    del notes.visits[0].offsets[index]
    del notes.visits[0].messages[index]
    assert missed(notes) == {"none_missed"}


def test_what_was_acknowledged_and_nobody_saw_is_missed() -> None:
    notes = history()
    notes.publishes.append(Publish(ONE + 4, "a", 7.0, 1, [Ack(1, 70, 7.1)]))
    assert missed(notes) == {"none_missed"}


def test_nothing_is_promised_of_what_was_not_acknowledged_and_nobody_saw() -> None:
    notes = history()
    notes.publishes.append(Publish(ONE + 4, "a", 7.0, 1))
    assert missed(notes) == {"all_acknowledged"}


def test_a_gap_between_two_visits_is_missed() -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 40, 50, 60, since="e:40:0")
    notes.visits[2].joined, notes.visits[2].stayed = 3.7, True
    assert missed(notes) == {"none_missed"}


def test_a_member_that_comes_back_without_a_position_misses_what_came_meanwhile() -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 40, 50, 60)
    notes.visits[2].joined, notes.visits[2].stayed = 4.7, True
    assert missed(notes) == {"none_missed"}


def test_a_gap_that_history_would_have_filled_must_not_be_told() -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 40, 50, 60, since="e:20:0")
    notes.visits[2].joined, notes.visits[2].stayed, notes.visits[2].recovered = 4.7, True, False
    assert missed(notes) == {"told_truly"}


@pytest.mark.parametrize("kept", [Kept(messages=1, size=1000), Kept(messages=4, size=20)])
def test_a_gap_is_told_when_history_does_not_reach_back(kept: Kept) -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 40, 50, 60, since="e:20:0")
    notes.visits[2].joined, notes.visits[2].stayed, notes.visits[2].recovered = 4.7, True, False
    assert judge.told_truly(notes, kept) == []
    assert judge.none_missed(notes) == []


def test_a_log_that_others_have_written_over_does_not_reach_back() -> None:
    notes = history()
    notes.visits[2] = visit(3, 2, 40, 50, 60, since="e:20:0")
    notes.visits[2].joined, notes.visits[2].stayed, notes.visits[2].recovered = 4.7, True, False
    other = visit(4, 3, 0)
    other.room, other.offsets, other.messages = "b", [1500], [3 * MILLION + 1]
    notes.visits.append(other)
    notes.publishes.append(Publish(3 * MILLION + 1, "b", 1.0, 1, [Ack(4, 1500, 2.0)]))
    assert judge.told_truly(notes, KEPT) == []
    notes.publishes[-1].acks[0].at = 9.0
    assert judge.told_truly(notes, KEPT)


def test_more_than_is_kept_cannot_have_been_recovered() -> None:
    notes = history()
    notes.visits[2].began, notes.visits[2].joined = 6.5, 6.6
    assert judge.told_truly(notes, Kept(messages=4, size=1000)) == []
    assert judge.told_truly(notes, Kept(messages=3, size=1000))


def test_a_recovered_visit_goes_on_where_it_was() -> None:
    notes = history()
    notes.visits[2].epoch = "f"
    assert missed(notes) >= {"told_truly"}


def test_a_history_that_is_kept_has_one_epoch() -> None:
    notes = history()
    for each in notes.visits[2:]:
        each.epoch, each.recovered = "f", False
    assert judge.told_truly(notes, KEPT)
    assert judge.told_truly(notes, Kept(messages=4, size=0)) == []


def test_who_gave_no_position_has_no_gap() -> None:
    notes = history()
    notes.visits[0].recovered = False
    assert missed(notes) == {"told_truly"}


def test_a_member_whose_messages_change_places_is_seen() -> None:
    notes = history()
    swapped = {ONE + 1: ONE + 2, ONE + 2: ONE + 1}
    for each in notes.visits:
        each.messages = [swapped.get(message, message) for message in each.messages]
    for publish in notes.publishes:
        publish.message = swapped.get(publish.message, publish.message)
    assert missed(notes) == {"in_publishers_order"}
    next(each for each in notes.publishes if each.message == ONE + 1).refusals = [
        Refusal("rate", 9.0)
    ]
    assert missed(notes) == {"all_acknowledged"}


def test_what_was_said_again_when_history_was_over_may_stand_anywhere() -> None:
    notes = history()
    for each in (notes.visits[0], notes.visits[2]):
        each.offsets.append(70)
        each.messages.append(ONE)
    notes.publishes.append(Publish(ONE, "a", 6.5, 2, [Ack(1, 70, 7.0)]))
    assert judge.in_publishers_order(notes, KEPT) == []
    assert judge.in_publishers_order(notes, Kept(messages=7, size=1000))
    notes.publishes[-1].sends = 1
    assert judge.in_publishers_order(notes, KEPT)


def test_what_may_have_been_refused_may_stand_anywhere() -> None:
    notes = history()
    for each in (notes.visits[0], notes.visits[2]):
        each.offsets.append(70)
        each.messages.append(ONE)
    notes.publishes.append(Publish(ONE, "a", 0.5, 1, [Ack(1, 70, 8.0)]))
    assert judge.in_publishers_order(notes, KEPT)
    notes.publishes[-1].acks[0].at = 9.0
    assert judge.in_publishers_order(notes, KEPT) == []


def test_another_offset_for_a_repeated_id_is_seen() -> None:
    notes = history()
    notes.publishes[4].acks.append(Ack(3, 50, 8.0))
    assert missed(notes) == set()
    notes.publishes[4].acks.append(Ack(3, 55, 8.0))
    assert "first_answer_stands" in missed(notes)


def test_a_refusal_is_seen_unless_it_is_for_want_of_time() -> None:
    notes = history()
    notes.publishes[0].refusals = [Refusal("unavailable", 0.9)]
    assert missed(notes) == set()
    notes.publishes[0].refusals = [Refusal("rate", 0.9)] * 2
    assert missed(notes) == {"all_acknowledged"}


def test_an_acknowledgement_that_takes_too_long_is_seen_unless_there_was_no_broker() -> None:
    notes = history()
    notes.publishes[0].began = -8.0
    assert missed(notes) == {"all_in_time"}
    assert judge.all_in_time(notes, [(-9.0, -7.9), (-7.9, -6.9), (30.0, 40.0)]) == []
    assert judge.all_in_time(notes, [(-9.0, -7.9), (0.9, 30.0)])


def test_a_refusal_is_an_answer_and_has_to_come_in_time() -> None:
    notes = history()
    notes.publishes[0].acks[0].at = 12.0
    notes.publishes[0].refusals = [Refusal("unavailable", 8.0)]
    assert missed(notes) == set()
    notes.publishes[0].refusals[0].at = 9.5
    assert missed(notes) == {"all_in_time"}


def test_a_member_that_is_not_there_at_the_end_is_seen() -> None:
    notes = history()
    notes.visits[2].stayed = False
    assert missed(notes) == {"all_back"}


@pytest.mark.parametrize(("code", "trouble"), [(1013, ""), (4404, ""), (0, "late"), (0, "quiet")])
def test_an_end_that_none_should_have_is_seen(code: int, trouble: str) -> None:
    notes = history()
    notes.visits[1].code, notes.visits[1].trouble = code, trouble
    assert missed(notes) == {"none_sent_away"}


def test_who_comes_while_there_is_no_broker_may_be_put_off() -> None:
    notes = history()
    late = Visit(4, 1.0, member=3, room="a")
    late.ended, late.code = 12.0, 1013
    notes.visits.append(late)
    assert judge.none_sent_away(notes)
    assert judge.none_sent_away(notes, outages=[(0.0, 11.0)]) == []
    late.joined = 2.0
    assert judge.none_sent_away(notes, outages=[(0.0, 11.0)])


def test_what_was_said_again_in_another_epoch_has_no_order() -> None:
    notes = history()
    again = visit(4, 1, 0, 10)
    again.epoch, again.joined, again.stayed = "f", 8.0, True
    again.offsets, again.messages = [5, 10], [ONE + 2, ONE + 1]
    notes.visits.append(again)
    assert judge.in_publishers_order(notes, KEPT) == []
    notes.visits[-1].messages = [ONE + 9, ONE + 8]
    notes.publishes += [Publish(ONE + number, "a", 8.0, 1) for number in (8, 9)]
    assert judge.in_publishers_order(notes, KEPT)


def test_presence_of_who_has_gone_is_seen() -> None:
    notes = history()
    notes.answers[1].listed.append(2)
    notes.visits[1].ended = 2.9
    assert missed(notes) == {"presence_is_right"}
    notes.visits[1].ended = 3.1
    assert missed(notes) == set()


def test_presence_of_who_was_killed_is_seen_at_once() -> None:
    notes = history()
    notes.answers[1].listed.append(2)
    notes.visits[1].worker, notes.visits[1].ended = KILLED, 4.9
    assert missed(notes) == {"presence_is_right"}
    notes.visits[1].ended = 5.1
    assert missed(notes) == set()


def test_absence_of_who_is_there_is_seen_but_for_a_time_after_a_brokers_death() -> None:
    notes = history()
    notes.answers[1].listed.remove(1)
    assert missed(notes) == {"presence_is_right"}
    assert judge.presence_is_right(notes, set(), [(1.0, 2.0)])
    assert judge.presence_is_right(notes, set(), [(1.0, 2.0), (4.0, 5.0)]) == []


def test_who_has_just_come_or_is_about_to_go_may_be_listed_or_not() -> None:
    notes = history()
    notes.answers[1].listed.remove(3)
    assert judge.presence_is_right(notes, set()) == []
    notes.answers[1].asked = notes.answers[1].answered = 7.0
    assert judge.presence_is_right(notes, set())
    notes.visits[2].ended = 7.9
    assert judge.presence_is_right(notes, set()) == []
    notes.visits[2].ended = 8.1
    assert judge.presence_is_right(notes, set())


def test_the_longest_silence_is_that_of_the_first_answers() -> None:
    notes = history()
    notes.publishes[3].acks.append(Ack(3, 40, 99.0))
    assert judge.longest_silence(notes.publishes) == pytest.approx(0.1)


@given(st.data())
def test_visits_that_are_cut_anywhere_and_continued_please_every_bar(data: st.DataObject) -> None:
    """A member may come and go at any place of the log; a part left out is always seen."""
    offsets = list(SPOKEN)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(offsets)), max_size=4)))
    notes = history()
    notes.answers = []
    borders = [0, *cuts, len(offsets)]
    notes.visits = [notes.visits[0]]
    for number, (start, end) in enumerate(itertools.pairwise(borders), start=2):
        at = offsets[start - 1] if start else 0
        each = visit(number, 2, at, *offsets[start:end], since=f"e:{at}:0" if number > 2 else "")
        each.joined = number
        notes.visits.append(each)
    notes.visits[-1].stayed = True
    assert missed(notes) == set()
    index = data.draw(st.integers(0, len(offsets) - 1))
    for each in notes.visits[1:]:
        if offsets[index] in each.offsets:
            place = each.offsets.index(offsets[index])
            if place < len(each.offsets) - 1 or each.stayed:
                del each.offsets[place], each.messages[place]
                assert missed(notes) == {"none_missed"}

"""A mistake planted in the history is seen by a check, by the model, or by the deaths at each byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from mpchat.broker.history import History
from tests.cuts import Cuts, Scale
from tests.mutants import Mutation, mutated
from tests.unit.broker import checks
from tests.unit.broker.test_model import STEPS, Model

BROKER = "mpchat.broker"
MODULES = tuple(
    f"{BROKER}.{name}" for name in ("segments", "ids", "reading", "recovery", "history")
)
Seen = Callable[[type[History]], None]


def of(module: str, function: str, old: str, new: str) -> Mutation:
    return Mutation(f"{BROKER}.{module}", function, old, new)


def in_history(function: str, old: str, new: str) -> Mutation:
    return of("history", f"History.{function}", old, new)


def the_model(history: type[History]) -> None:
    @settings(
        max_examples=300,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STEPS)
    def run(steps: list[tuple[object, ...]]) -> None:
        Model(history).run(steps)

    run()


def cuts(**scale: Any) -> Seen:
    def run(history: type[History]) -> None:
        assert Cuts(Scale(**scale), 0, history).run(wrong=1).wrong == []

    run.__name__ = "cuts"
    return run


ALONE = (
    in_history("append", "crc32(head, self._chain)", "crc32(head)"),
    of("recovery", "_scan", "crc32(view[place : end - 4], chain)", "crc32(view[place : end - 4])"),
    of(
        "reading",
        "_check",
        "crc32(data[at : at + size - CRC.size], CRC.unpack_from(data, at - CRC.size)[0])",
        "crc32(data[at : at + size - CRC.size])",
    ),
)

MISTAKES: dict[str, tuple[Seen, tuple[Mutation, ...]]] = {
    "each CRC stands alone": (cuts(turns=12, same=True, pieces=60, cuts=False), ALONE),
    "a record says nothing of its place": (
        cuts(turns=10, same=True),
        (
            of("recovery", "_scan", "offset != base + place", "False"),
            of("recovery", "_scan", "crc_at(data, end - 4)[0] != crc", "False"),
        ),
    ),
    "all is seen at the end": (
        checks.a_position_that_has_seen_everything_is_below_the_next_message,
        (in_history("mark", "self.end - 1", "self.end"),),
    ),
    "keys die with the broker": (
        checks.what_is_answered_is_there_for_the_next_broker,
        (of("recovery", "_scan", "flags & KEYED", "False"),),
    ),
    "counters die with the broker": (
        checks.what_is_answered_is_there_for_the_next_broker,
        (of("recovery", "_scan", "places[counter % OPEN] = offset", "pass"),),
    ),
    "young segments are not scanned": (
        checks.ids_are_kept_for_the_window_by_the_clock_that_nobody_sets,
        (of("recovery", "recover", "horizon = now - window", "horizon = now"),),
    ),
    "keys are not kept": (
        checks.an_id_is_known_within_its_turn,
        (in_history("append", "ids.young[key] = offset", "pass"),),
    ),
    "a key's publish has no counter": (
        checks.a_workers_open_publishes_are_known,
        (
            in_history(
                "append",
                "places[OPEN + place] = counter",
                "places[OPEN + place] = 0 if key else counter",
            ),
        ),
    ),
    "keys are kept for ever": (
        checks.more_keys_than_allowed_drop_the_oldest,
        (of("ids", "Ids.turn", "len(self) > self._most - self.share", "False"),),
    ),
    "generations never end": (
        checks.ids_are_kept_for_the_window_by_the_clock_that_nobody_sets,
        (of("ids", "Ids.turn", "self._older[0].ended < now - self._window", "False"),),
    ),
    "generations end early": (
        checks.ids_are_kept_for_the_window_by_the_clock_that_nobody_sets,
        (of("ids", "Ids.turn", "now - self._window", "now - self._window // 2"),),
    ),
    "workers are never forgotten": (
        checks.workers_that_are_gone_are_forgotten,
        (of("ids", "Ids.turn", "max(places[:OPEN]) >= over", "True"),),
    ),
    "a counter's place is enough": (
        checks.a_workers_open_publishes_are_known,
        (of("ids", "Ids.find_own", "places[OPEN + place] != counter", "False"),),
    ),
    "ids of what is gone": (
        checks.ids_of_records_that_are_gone_are_not_answered,
        (in_history("_found", "offset < self.floor", "offset == 0"),),
    ),
    "records know no predecessor": (
        the_model,
        (in_history("append", "prev = last.get(room)", "prev = None"),),
    ),
    "a room's entry is not changed": (
        checks.offsets_rise_over_all_rooms_and_lives,
        (in_history("append", "last[room] = offset", "last.setdefault(room, offset); pass"),),
    ),
    "an unknown room is new": (
        checks.a_room_that_was_forgotten_has_no_wrong_continuation,
        (in_history("_place", "UNKNOWN | self.floor - 1", "UNKNOWN"),),
    ),
    "rooms are never forgotten": (
        checks.rooms_without_records_take_no_memory,
        (in_history("_forget", "del last[room]", "pass"),),
    ),
    "rooms that talk are forgotten": (
        checks.rooms_without_records_take_no_memory,
        (in_history("_forget", "last.get(room) == offset", "False"),),
    ),
    "the floor stays": (
        the_model,
        (in_history("_place", "self.floor = oldest * size", "self.floor = size"),),
    ),
    "answers before writing": (
        checks.what_is_answered_is_there_for_the_next_broker,
        (in_history("commit", "self._write(b'')", "None"),),
    ),
    "a short write passes": (
        checks.nobody_hears_of_what_is_not_written,
        (of("segments", "Segments.write", "written != len(content)", "False"),),
    ),
    "a write for each record": (
        checks.a_turn_is_one_write,
        (in_history("append", "last[room] = offset", "last[room] = offset; self._write(b'')"),),
    ),
    "what is written at a segment's end is not answered": (
        checks.a_turn_over_segments_is_answered_whole_and_in_order,
        (in_history("_roll", "self._rolled += self._staged", "pass"),),
    ),
    "reading what is not written": (
        checks.a_turn_over_segments_is_answered_whole_and_in_order,
        (in_history("_settled", "self._staged", "False"),),
    ),
    "no place for the footer": (
        checks.records_near_the_segments_size,
        (
            in_history(
                "append", "offset + size + entry > self._until", "offset + size > self._until + 9"
            ),
        ),
    ),
    "entries are not counted": (
        checks.rooms_without_records_take_no_memory,
        (in_history("append", "self._until -= entry", "pass"),),
    ),
    "the newest segment's rooms are lost": (
        checks.a_room_of_an_earlier_life_is_in_the_footer,
        (of("recovery", "recover", "list(scan.rooms)", "[]"),),
    ),
    "no footer is read": (
        the_model,
        (of("recovery", "recover", "last.update(rooms)", "None"),),
    ),
    "all segments are scanned": (
        checks.old_segments_are_known_by_their_footers,
        (of("recovery", "recover", "following.born >= horizon", "True"),),
    ),
    "a torn header is damage": (
        cuts(),
        (of("recovery", "recover", "oldest += 1", "pass"),),
    ),
    "a header may be missing": (
        checks.damage_begins_a_new_epoch_loudly,
        (of("recovery", "_check_torn", "number > newest", "False"),),
    ),
    "what follows damage is dropped": (
        checks.damage_begins_a_new_epoch_loudly,
        (of("recovery", "recover", "scan.goes_on", "False"),),
    ),
    "a scan need not fit": (
        checks.damage_begins_a_new_epoch_loudly,
        (
            of(
                "recovery",
                "recover",
                "(scan.end, scan.chain) != (following.end, following.chain)",
                "False",
            ),
        ),
    ),
    "a footer need not fit": (
        checks.a_footer_that_is_wrong_is_damage,
        (
            of(
                "segments",
                "Segments.footer",
                "CRC.unpack_from(content, len(body))[0] != crc32(body, chain)",
                "False",
            ),
        ),
    ),
    "a new epoch begins at the old numbers": (
        checks.damage_begins_a_new_epoch_loudly,
        (in_history("__init__", "error.number + 1", "1"),),
    ),
    "a reader's find is forgotten": (
        checks.damage_that_a_reader_finds_is_known_to_the_next_broker,
        (of("recovery", "recover", "newest.condemned", "False"),),
    ),
    "readers check nothing": (
        checks.damage_that_a_reader_finds_is_known_to_the_next_broker,
        (
            of(
                "reading",
                "_check",
                "CRC.unpack_from(data, at + size - CRC.size)[0] != crc",
                "False",
            ),
        ),
    ),
    "closing ends nothing": (
        checks.a_closed_room_begins_anew,
        (of("reading", "walk_back", "closed = kind == CLOSED", "closed = False"),),
    ),
    "limits come before the position": (
        checks.a_rooms_history_is_limited_by_number_bytes_and_age,
        (of("reading", "walk_back", "place <= offset", "place < offset"),),
    ),
    "no limit of number": (
        checks.a_rooms_history_is_limited_by_number_bytes_and_age,
        (of("reading", "walk_back", "messages < 0", "False"),),
    ),
    "no limit of bytes": (
        checks.a_rooms_history_is_limited_by_number_bytes_and_age,
        (of("reading", "walk_back", "held < 0", "False"),),
    ),
    "no limit of age": (
        checks.a_rooms_history_is_limited_by_number_bytes_and_age,
        (of("reading", "walk_back", "stamp < horizon", "False"),),
    ),
    "what is gone is no gap": (
        the_model,
        (of("reading", "walk_back", "place < floor", "False"),),
    ),
    "a page is the newest part": (
        checks.a_long_history_comes_in_pages,
        (of("reading", "_page", "places.pop()", "places.pop(0)"),),
    ),
    "following skips a segment": (
        checks.who_is_behind_gets_all_in_order,
        (of("reading", "follow", "return records, behind", "return records, end"),),
    ),
    "following holds up all others": (
        checks.who_is_behind_is_served_in_pieces,
        (of("reading", "follow", "min(PAGE, behind - start)", "behind - start"),),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_is_seen(mistake: str) -> None:
    seen, mutations = MISTAKES[mistake]
    history = mutated(*mutations, users=MODULES)[f"{BROKER}.history"].History
    with pytest.raises((Exception, pytest.fail.Exception)):
        seen(history)


def test_without_a_mistake_nothing_is_seen() -> None:
    """The same classes, made anew, pass."""
    nothing = in_history("mark", "self.end - 1", "self.end - 1")
    history = mutated(nothing, users=MODULES)[f"{BROKER}.history"].History
    for seen in (checks.a_closed_room_begins_anew, the_model, cuts(turns=5)):
        seen(history)

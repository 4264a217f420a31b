"""Rooms without a history: numbered, never recovered, and honest about it."""

from __future__ import annotations

import inspect

import pytest

from mpchat.broker.history import History
from mpchat.broker.unstored import LARGEST, Unstored
from mpchat.ipc import records
from mpchat.ipc.records import KEYED, MESSAGE, UNKNOWN
from tests.unit.broker.logs import ALL


def say(log: Unstored, room: str, payload: bytes = b"hello") -> records.Record:
    offset = log.append(MESSAGE, KEYED, room.encode(), b"ann", b"k" * 16, payload, 5, 7, 1)
    (record,) = map(records.parse, log.commit())
    assert record.offset == offset
    return record


def test_messages_are_numbered_and_told_but_not_kept() -> None:
    log = Unstored(clock=lambda: 3)
    assert log.mark == 0
    first, second, third = (say(log, room) for room in "aba")
    assert (first.offset, second.offset, third.offset) == (1, 2, 3)
    assert first.prev == second.prev == UNKNOWN
    assert third.prev == 1
    assert (first.room, first.payload, first.at, first.stamp) == (b"a", b"hello", 5, 3)
    assert log.mark == 3
    assert log.find_key(b"k" * 16) is None
    assert log.find_own(7, 1) is None
    assert log.follow(0, {b"a"}) == ([], log.end)
    assert log.floor == log.end
    assert (log.stored, log.damage, log.commit()) == (False, "", [])


def test_only_who_has_missed_nothing_is_recovered() -> None:
    log = Unstored()
    mark = log.mark
    assert log.since(b"a", mark, ALL) == (True, [], False, False)
    said = say(log, "a")
    assert log.since(b"a", mark, ALL) == (False, [], False, False)
    assert log.since(b"a", said.offset, ALL) == (True, [], False, False)
    say(log, "b")
    assert log.since(b"a", said.offset, ALL) == (True, [], False, False)


def test_endless_names_take_no_memory_and_no_gap_is_hidden() -> None:
    log = Unstored(rooms=10)
    said = say(log, "a")
    for n in range(100):
        say(log, f"room {n}")
    # Nobody knows whether it had others.
    assert log.since(b"a", said.offset, ALL).recovered is False
    assert log.since(b"a", log.mark, ALL).recovered is True
    again = say(log, "a")
    assert again.prev & UNKNOWN
    assert again.prev & ~UNKNOWN > said.offset
    assert log.since(b"a", again.offset - 1, ALL).recovered is False


def test_each_broker_begins_an_epoch() -> None:
    assert Unstored().epoch != Unstored().epoch
    assert len(Unstored().epoch) == 16


def test_a_message_has_a_size() -> None:
    with pytest.raises(ValueError, match="are allowed"):
        say(Unstored(), "a", bytes(LARGEST))


def test_the_interface_is_the_historys() -> None:
    def names(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    kept = names(History) | {"epoch", "floor", "end", "largest", "damage", "ids"}
    assert kept - names(Unstored) - set(vars(Unstored())) == set()
    for name in ("append", "commit", "since", "last"):
        mine, theirs = (inspect.signature(getattr(cls, name)) for cls in (Unstored, History))
        assert len(mine.parameters) == len(theirs.parameters)

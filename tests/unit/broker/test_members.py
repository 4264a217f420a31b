"""Members of all rooms, against a plain model."""

from __future__ import annotations

import tracemalloc
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.broker.members import Members, Room, total_of
from mpchat.broker.pairs import Pair
from mpchat.ipc.rooms import Listed

PAIRS = cast(list[Pair], [object() for _ in range(3)])
NAMES = [b"a", b"b"]
STEPS = st.one_of(
    st.tuples(st.just("join"), st.none()),
    st.tuples(st.just("leave"), st.none()),
    st.tuples(st.just("join_listed"), st.integers(1, 3)),
    st.tuples(st.just("leave_listed"), st.integers(1, 3)),
    st.tuples(st.just("count"), st.integers(0, 3)),
    st.tuples(st.just("subscribe"), st.none()),
    st.tuples(st.just("drop"), st.none()),
    st.tuples(st.just("drop_all"), st.none()),
    st.tuples(st.just("unsubscribe_all"), st.none()),
    st.tuples(st.just("close"), st.none()),
)


class Model:
    """What a pair has in a room: [members without info, members with info, is it sent its records]."""

    def __init__(self) -> None:
        self.held: dict[tuple[Pair, bytes], list[Any]] = {}

    def act(self, step: str, pair: Pair, name: bytes, argument: int | None) -> None:
        held, key = self.held, (pair, name)
        match step:
            case "join":
                entry = held.setdefault(key, [0, set(), True])
                entry[0] += 1
                entry[2] = True
            case "leave":
                if key in held and held[key][0]:
                    held[key][0] -= 1
                    self._tidy(key)
            case "join_listed":
                held.setdefault(key, [0, set(), False])[1].add(argument)
            case "leave_listed":
                if key in held and argument in held[key][1]:
                    held[key][1].discard(argument)
                    self._tidy(key)
            case "count":
                entry = held.setdefault(key, [0, set(), argument == 1 and not self._others(name)])
                entry[0] = argument
            case "subscribe":
                held.setdefault(key, [0, set(), True])[2] = True
            case "drop":
                held.pop(key, None)
            case "drop_all":
                for name_ in NAMES:
                    held.pop((pair, name_), None)
            case "unsubscribe_all":
                for (other, _), entry in held.items():
                    if other is pair:
                        entry[2] = False
            case "close":
                for other in PAIRS:
                    held.pop((other, name), None)

    def _others(self, name: bytes) -> bool:
        return any(found == name for _, found in self.held)

    def _tidy(self, key: tuple[Pair, bytes]) -> None:
        if not self.held[key][0] and not self.held[key][1]:
            del self.held[key]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PAIRS), st.sampled_from(NAMES), STEPS), max_size=40))
def test_members_are_those_of_a_plain_model(
    steps: list[tuple[Pair, bytes, tuple[str, int | None]]],
) -> None:
    members, model = Members(), Model()
    for pair, name, (step, argument) in steps:
        arguments: list[Any] = [pair, name]
        if step in {"drop_all", "unsubscribe_all"}:
            arguments = [pair]
        elif step == "close":
            arguments = [name]
        elif step == "join_listed":
            arguments.append(Listed(0, argument or 0, b"", b"{}"))
        elif argument is not None:
            arguments.append(argument)
        getattr(members, step)(*arguments)
        model.act(step, pair, name, argument)
        assert set(members.rooms) == {found for _, found in model.held}
        for found, room in members.rooms.items():
            held = {pair: entry for (pair, of), entry in model.held.items() if of == found}
            assert set(room.targets) == {pair for pair, entry in held.items() if entry[2]}
            assert total_of(room) == sum(entry[0] + len(entry[1]) for entry in held.values())
            if isinstance(room, Room):
                assert {one.member for one in room.everybody()} == {
                    member for entry in held.values() for member in entry[1]
                }
        assert members.total == sum(entry[0] + len(entry[1]) for entry in model.held.values())
        for other in PAIRS:
            for of in NAMES:
                assert members.has(other, of) == ((other, of) in model.held)


def test_a_room_of_one_takes_no_object_and_ten_thousand_in_one_room_take_none() -> None:
    members, pair = Members(), PAIRS[0]
    names = [b"room %d" % number for number in range(20_000)]
    tracemalloc.start()
    try:
        for name in names:
            members.join(pair, name)
        rooms = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            members.join(pair, b"large")
        crowd = tracemalloc.get_traced_memory()[0] - rooms
    finally:
        tracemalloc.stop()
    assert rooms / len(names) < 110, "an entry of a dict that has just grown"
    assert crowd < 2000
    members.drop_all(pair)
    assert not members.rooms

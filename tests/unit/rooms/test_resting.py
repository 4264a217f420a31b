"""Members that are alone in their room: they rest, which nobody sees but who looks at memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from mpchat.components.context import Context
from mpchat.ipc.answering import Answer, Presence, pack_mark
from mpchat.ipc.asking import Join, Leave, Subscribe
from mpchat.ipc.records import CLOSED, UNKNOWN, pack
from mpchat.ipc.rooms import JOINED, RECOVERED, SUBSCRIBE, Change, Listed
from mpchat.rooms.errors import RoomClosed
from mpchat.rooms.forms import RAW
from mpchat.rooms.member import LEFT, Member
from mpchat.rooms.position import Position
from mpchat.rooms.rooms import Rooms
from mpchat.websocket.connection import WebSocketConnection
from tests.unit.rooms.rig import served, until_members
from tests.unit.rooms.test_resuming import EPOCH, ROOM, Broker, page, record, taken

NUMBER = 4_000
"""Members whose memory is measured; dicts have just grown then, which is the worst."""


def rests(member: Member) -> bool:
    return member.place == ROOM


def stands_at(broker: Broker) -> int:
    """Lose the pair; return from where the room goes on."""
    broker.registry.disconnected()
    broker.registry.connected()
    (frame,) = [frame for frame in broker.asked if frame[4] == SUBSCRIBE]
    since = Subscribe.parse(frame).since
    assert since is not None
    assert since.epoch == EPOCH
    return since.offset


async def test_who_is_sent_something_rests_again_after_the_next_mark() -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100))
    assert rests(member)
    broker.say(record(200), record(300))
    assert taken(member) == [b"at 200", b"at 300"]
    assert not rests(member)
    broker.say(pack_mark(300))
    assert rests(member)
    broker.say(Presence(Change.LEFT, ROOM, Listed(1, 1, b"", b"{}")).pack(), record(400))
    assert taken(member)[2:] == [b"at 400"]


async def test_nobody_rests_while_messages_are_on_their_way() -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100))
    broker.registry.receive([record(200), pack_mark(200)])
    assert not rests(member)
    broker.say(record(300))
    assert taken(member) == [b"at 200", b"at 300"]
    broker.say(pack_mark(300))
    assert rests(member)


async def test_who_rests_goes_on_where_the_stream_was() -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100), pack_mark(250))
    assert rests(member)
    assert broker.registry.position_of(member) == Position(EPOCH, 250, 1)
    assert stands_at(broker) == 250
    broker.say(page(JOINED, broker.question(SUBSCRIBE), 250, 400, 300, 400))
    broker.say(pack_mark(400), record(500))
    assert taken(member) == [b"at 300", b"at 400", b"at 500"]


async def test_who_rests_has_seen_what_the_room_was_sent_before() -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100))
    other = broker.join()
    broker.say(broker.joined(100), record(200))
    assert not rests(member)
    broker.registry.leave(other)
    # Other rooms may have records below this one, which come later.
    assert not rests(member)
    broker.say(pack_mark(200))
    assert rests(member)
    assert broker.registry.position_of(member) == Position(EPOCH, 200, 1)
    assert stands_at(broker) == 200


async def test_one_of_two_rests_when_the_other_has_left() -> None:
    broker = Broker()
    members = [broker.join()]
    broker.say(broker.joined(100))
    members.append(broker.join())
    broker.say(broker.joined(100), record(200))
    assert [taken(member) for member in members] == [[b"at 200"], [b"at 200"]]
    assert not any(map(rests, members))
    broker.registry.leave(members[0])
    broker.say(pack_mark(200))
    assert rests(members[1])
    broker.say(record(300))
    assert [taken(member) for member in members] == [[b"at 200"], [b"at 200", b"at 300"]]


async def test_a_room_that_is_closed_ends_for_who_rests() -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100))
    assert rests(member)
    broker.say(pack(CLOSED, 0, ROOM, b"", b"", b"", 200, UNKNOWN, 1, 1, 1, 1)[0])
    assert member.state is LEFT
    assert member.extra is not None
    assert isinstance(member.extra.error, RoomClosed)
    assert not broker.registry._rooms


@pytest.mark.parametrize("sent", [(), (200,)])
async def test_who_leaves_at_rest_is_forgotten(sent: tuple[int, ...]) -> None:
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100), *map(record, sent))
    broker.registry.leave(member)
    assert Leave.parse(broker.asked[-1]).room == ROOM
    assert not broker.registry._rooms
    assert not broker.registry._rooms._awake
    broker.say(record(300))
    assert len(taken(member)) == len(sent)


@pytest.mark.parametrize(
    ("name", "most"), [(lambda number: b"room %d" % number, 190), (lambda number: ROOM, 100)]
)
async def test_a_membership_takes_little_of_a_worker(
    name: Callable[[int], bytes], most: int
) -> None:
    """Beside what test_members.py says of the broker; together it is below 300 bytes."""
    broker = Broker()
    members = []

    def join(number: int) -> None:
        member = Member(broker.registry, name(number), RAW, None)
        broker.registry.join(member, b"", None)
        question = Join.parse(broker.asked.pop()).number
        broker.say(Answer(JOINED, question, RECOVERED, offset=9999, mark=9999).pack())
        members.append(member)

    # What is made once.
    join(-1)
    members.pop()
    tracemalloc.start()
    try:
        for number in range(NUMBER):
            join(number)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / NUMBER < most + 9, "and nine in the test's own list"
    for member in members:
        broker.registry.leave(member)
    assert len(broker.registry._rooms) == 1, "the one from before"


async def test_nothing_is_left_of_a_room_without_members_and_history() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        name = context.path_params["room"]
        async with rooms.join(name, chat, info=name), rooms.join(f"more of {name}", chat) as more:
            async for message in chat:
                await more.publish(message)

    async with served(handle, history_memory=0) as service:
        for name in ("a", "b", "c"):
            async with service.client.get(name) as first, service.client.get(name) as second:
                await until_members(service, 2, f"more of {name}")
                await first.send("hello")
                assert [await first.recv(), await second.recv()] == ["hello", "hello"]
            await until_members(service, 0, f"more of {name}")
        side, broker = service.rooms.side, service.broker
        for _ in range(6):
            broker.second()
        assert not side.registry._rooms
        assert not side.registry._rooms._awake
        assert not side.registry._listed
        assert not side.registry._questions.all()
        assert not side.publishing._open
        assert not broker.members.rooms
        assert not broker.members.total
        assert not broker.history.rooms
        assert not broker._hints._left
        assert not broker._traffic.rates()
        assert not broker._traffic.current

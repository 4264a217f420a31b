"""A worker's side of the pair, against a broker whose every frame a test writes itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from mpchat.ipc.answering import Answer, Welcome, pack_ack, pack_lost, pack_mark
from mpchat.ipc.asking import Hello, History, Join, Subscribe, parse_publish
from mpchat.ipc.framing import Frames
from mpchat.ipc.records import MESSAGE, pack
from mpchat.ipc.rooms import (
    HELLO,
    HISTORY,
    HISTORY_PAGE,
    JOIN,
    JOINED,
    LEAVE,
    MAX_OPEN,
    MORE,
    PUBLISH,
    RECOVERED,
    STORED,
    SUBSCRIBE,
    Since,
)
from mpchat.rooms.errors import Behind, Unavailable
from mpchat.rooms.options import RoomsOptions
from mpchat.rooms.publishing import Publish, Publishing
from mpchat.rooms.room import Room
from mpchat.rooms.side import Side
from tests.unit.rooms.rig import publish
from tests.unit.websocket.rig import Worker, on_uvloop, until

EPOCH = "epoch-of-a-test!"
ROOM = b"a"


class OurSide(Side):
    """A worker's side, and the other ends of its pairs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ends: list[socket.socket] = []

    def close(self) -> None:
        super().close()
        for end in self.ends:
            end.close()


class Broker:
    """The other end of a pair."""

    def __init__(self, side: OurSide, pair: int = 1) -> None:
        self._frames = Frames()
        self.end, other = socket.socketpair()
        side.ends.append(self.end)
        self.end.setblocking(False)
        side.link.take(other, pair, Hello(7, 8))

    async def read(self) -> list[bytes]:
        """Return what has come, one frame at least."""
        found: list[bytes] = []
        while not found:
            found = self._frames.cut(await asyncio.get_running_loop().sock_recv(self.end, 1 << 20))
        return found

    async def expect(self, *kinds: int) -> list[bytes]:
        """Return frames of these kinds, which must be what comes."""
        found: list[bytes] = []
        while len(found) < len(kinds):
            found += await self.read()
        assert [frame[4] for frame in found] == list(kinds)
        return found

    def say(self, *frames: bytes) -> None:
        self.end.sendall(b"".join(frames))


def welcome() -> bytes:
    return Welcome(STORED, 100_000, EPOCH, 1, 10).pack()


def record(offset: int, text: str = "") -> bytes:
    payload = (text or f"{offset}").encode()
    made, _crc = pack(MESSAGE, 0, ROOM, b"", b"", payload, offset, 0, 1000 + offset, 1, 7, offset)
    return made


def answer(
    kind: int, number: int, *records: bytes, mark: int, flags: int = RECOVERED, **more: Any
) -> bytes:
    return Answer(kind, number, flags, mark=mark, records=b"".join(records), **more).pack()


@contextlib.contextmanager
def side_of(worker: Worker, limit: float = 5.0, **options: Any) -> Iterator[OurSide]:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    side = OurSide(worker.shared, RoomsOptions(**given), limit)
    try:
        yield side
    finally:
        side.close()


def member(side: Side) -> Room:
    return Room(side, ROOM, None, None, None, None)


async def greeted(side: OurSide) -> Broker:
    """Return a broker that the worker has greeted, and that has welcomed it."""
    broker = Broker(side)
    await broker.expect(HELLO)
    broker.say(welcome())
    return broker


async def joined(side: OurSide) -> tuple[Broker, Room]:
    """Return a broker, and a member at offset 10."""
    broker, room = await greeted(side), member(side)
    joining = asyncio.create_task(room.__aenter__())
    (join,) = await broker.expect(JOIN)
    broker.say(answer(JOINED, Join.parse(join).number, mark=10, offset=10, at=1010))
    return broker, await joining


@on_uvloop
async def test_it_says_who_it_is_first(worker: Worker) -> None:
    with side_of(worker) as side:
        broker = Broker(side)
        (hello,) = await broker.expect(HELLO)
        assert Hello.parse(hello).incarnation == 7
        assert side.link.is_up


@on_uvloop
async def test_frames_may_be_cut_anywhere(worker: Worker) -> None:
    with side_of(worker) as side:
        broker, room = await joined(side)
        for part in record(11, "hello"):
            broker.say(bytes((part,)))
            await asyncio.sleep(0)
        assert (await anext(room)).data == "hello"
        assert room.position == (EPOCH, 11, 1011)


@on_uvloop
async def test_the_frames_of_a_turn_leave_together(worker: Worker) -> None:
    with side_of(worker) as side:
        broker = Broker(side)
        await broker.expect(HELLO)
        answers = [publish(side, room=ROOM) for _ in range(3)]
        # One write: all of them are there at once.
        assert [frame[4] for frame in await broker.read()] == [PUBLISH] * 3
        broker.say(welcome(), *(pack_ack(0, counter, 10 + counter, 5) for counter in (1, 2, 3)))
        assert [one.offset for one in await asyncio.gather(*answers)] == [11, 12, 13]


@on_uvloop
async def test_a_fresh_pair_ends_the_old_one_whatever_is_still_in_it(worker: Worker) -> None:
    with side_of(worker) as side:
        old, room = await joined(side)
        old.say(record(11), record(12)[:20])
        new = Broker(side, 2)
        with pytest.raises(ConnectionError):
            old.say(b"x")
        _hello, subscribe = await new.expect(HELLO, SUBSCRIBE)
        asked = Subscribe.parse(subscribe)
        assert (asked.since, asked.counted) == (Since(EPOCH, 10, 1010), 1)
        new.say(welcome(), answer(JOINED, asked.number, record(11), record(12), mark=12))
        assert [(await anext(room)).offset for _ in range(2)] == [11, 12]


@on_uvloop
async def test_what_was_missed_comes_in_pages_and_nothing_twice(worker: Worker) -> None:
    with side_of(worker) as side:
        old, room = await joined(side)
        old.say(record(11), pack_mark(15, 1015))
        assert (await anext(room)).offset == 11
        new = Broker(side, 2)
        _hello, subscribe = await new.expect(HELLO, SUBSCRIBE)
        asked = Subscribe.parse(subscribe)
        # The mark holds for all rooms.
        assert asked.since == Since(EPOCH, 15, 1015)
        new.say(
            welcome(),
            answer(JOINED, asked.number, record(16), mark=30, flags=RECOVERED | MORE),
            record(31),
        )
        (page,) = await new.expect(HISTORY)
        again = History.parse(page)
        assert again.since == Since(EPOCH, 16, 1016)
        new.say(answer(HISTORY_PAGE, again.number, record(20), record(31), mark=31), record(32))
        got = [(await anext(room)).offset for _ in range(4)]
        assert got == [16, 20, 31, 32]


@on_uvloop
async def test_a_gap_ends_the_members(worker: Worker) -> None:
    with side_of(worker) as side:
        broker, room = await joined(side)
        broker.say(record(11), pack_lost(500))
        (subscribe,) = await broker.expect(SUBSCRIBE)
        asked = Subscribe.parse(subscribe)
        assert asked.since == Since(EPOCH, 11, 1011)
        broker.say(answer(JOINED, asked.number, mark=600, flags=0, offset=600))
        assert (await anext(room)).offset == 11
        with pytest.raises(Behind):
            await anext(room)
        await broker.expect(LEAVE)


@on_uvloop
async def test_who_joins_while_a_room_resumes_gets_each_message_once(worker: Worker) -> None:
    with side_of(worker) as side:
        _old, first = await joined(side)
        new = Broker(side, 2)
        _hello, subscribe = await new.expect(HELLO, SUBSCRIBE)
        second = member(side)
        joining = asyncio.create_task(second.__aenter__())
        (join,) = await new.expect(JOIN)
        resumed, number = Subscribe.parse(subscribe).number, Join.parse(join).number
        new.say(
            welcome(),
            answer(JOINED, resumed, record(11), mark=20, flags=RECOVERED | MORE),
            answer(JOINED, number, mark=20, offset=20),
        )
        (rest_asked,) = await new.expect(HISTORY)
        await joining
        taking = asyncio.create_task(anext(second))
        (own_asked,) = await new.expect(HISTORY)
        rest, own = History.parse(rest_asked), History.parse(own_asked)
        assert (rest.since, own.since) == (Since(EPOCH, 11, 1011), Since(EPOCH, 20))
        new.say(
            answer(HISTORY_PAGE, rest.number, record(12), record(21), mark=21),
            answer(HISTORY_PAGE, own.number, record(21), mark=21),
            record(22),
        )
        assert [(await anext(first)).offset for _ in range(4)] == [11, 12, 21, 22]
        assert [(await taking).offset, (await anext(second)).offset] == [21, 22]


@on_uvloop
async def test_nonsense_ends_the_pair_and_is_reported(worker: Worker) -> None:
    with side_of(worker) as side:
        broken: list[int] = []
        side.link.on_broken = broken.append
        broker = Broker(side, 5)
        await broker.expect(HELLO)
        broker.say(b"\x01\x00\x00\x00\x00")
        await until(lambda: broken)
        assert broken == [5]
        assert not side.link.is_up
        other = Broker(side, 6)
        await other.expect(HELLO)
        other.say(b"\x05\x00\x00\x00\xee")
        await until(lambda: len(broken) == 2)
        third = Broker(side, 7)
        await third.expect(HELLO)
        acknowledged = pack_ack(0, 1, 11, 5)
        third.say(bytes([len(acknowledged) + 1]) + acknowledged[1:] + b"\x00")
        await until(lambda: len(broken) == 3)


@on_uvloop
async def test_a_mistake_of_ours_ends_the_pair_too(worker: Worker) -> None:
    with side_of(worker) as side:
        broken: list[int] = []
        side.link.on_broken = broken.append
        broker, room = await joined(side)
        # Text that is none: it cannot have come from a worker.
        bad, _crc = pack(MESSAGE, 0, ROOM, b"\xff", b"", b"", 11, 0, 1, 1, 7, 1)
        broker.say(bad, record(12))
        await until(lambda: broken)
        # On the next pair it goes on where it was.
        other = Broker(side, 2)
        _hello, subscribe = await other.expect(HELLO, SUBSCRIBE)
        assert Subscribe.parse(subscribe).since == Since(EPOCH, 10, 1010)
        assert not room.subscription.hall.held


@on_uvloop
async def test_the_broker_waits_while_members_are_not_written_to(worker: Worker) -> None:
    with side_of(worker, worker_backlog=1000) as side:
        broker, room = await joined(side)
        hall = room.subscription.hall
        hall.held += 2000
        side.link._read_on()
        broker.say(record(11))
        for _ in range(5):
            await asyncio.sleep(0)
        assert room.subscription.offset == 10
        hall.held -= 2000
        hall.on_less()
        assert (await anext(room)).offset == 11


@on_uvloop
async def test_a_publish_without_an_answer_ends(worker: Worker) -> None:
    with side_of(worker, limit=0.1) as side:
        broker = Broker(side)
        await broker.expect(HELLO)
        with pytest.raises(Unavailable):
            await publish(side, room=ROOM)
        await broker.expect(PUBLISH)
        # It is not sent to the next one.
        other = Broker(side, 2)
        await other.expect(HELLO)
        publish(side, b"y", room=ROOM).cancel()
        (frame,) = await other.expect(PUBLISH)
        assert parse_publish(frame)[5] == b"y"


@on_uvloop
async def test_open_publishes_span_what_the_broker_remembers(worker: Worker) -> None:
    sent: list[int] = []

    class Link:
        def send(self, frame: bytes) -> None:
            sent.append(parse_publish(frame)[0])

    link: Any = Link()
    publishing = Publishing(worker.loop, link, 5.0, lambda name: None)
    what = Publish(ROOM, b"x", 0, b"", b"")
    answers = [worker.loop.create_future() for _ in range(MAX_OPEN + 10)]
    for answer in answers:
        publishing.begin(what, answer)
    assert sent == [*range(1, MAX_OPEN + 1)]
    # An answer to another than the oldest makes no room.
    publishing.stored(2, 20, 1)
    assert len(sent) == MAX_OPEN
    publishing.stored(1, 10, 1)
    assert sent[MAX_OPEN:] == [MAX_OPEN + 1, MAX_OPEN + 2]
    answers[5].cancel()
    sent.clear()
    publishing.repeat()
    assert sent == [number for number in range(3, MAX_OPEN + 3) if number != 6]
    publishing.end()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(result, Unavailable) for result in results) == MAX_OPEN + 7


@on_uvloop
async def test_who_gives_up_joining_leaves_when_let_in(worker: Worker) -> None:
    with side_of(worker) as side:
        broker = await greeted(side)
        room = member(side)
        joining = asyncio.create_task(room.__aenter__())
        (join,) = await broker.expect(JOIN)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        broker.say(answer(JOINED, Join.parse(join).number, mark=10))
        await broker.expect(LEAVE)
        assert not side.registry._rooms

"""A room of a worker that goes on where it was: whoever joins meanwhile takes nothing from the others."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mpchat.ipc.answering import Answer, Welcome, pack_lost
from mpchat.ipc.asking import History, Join, Subscribe
from mpchat.ipc.records import MESSAGE, UNKNOWN, pack
from mpchat.ipc.rooms import (
    HISTORY,
    HISTORY_PAGE,
    JOIN,
    JOINED,
    MORE,
    RECOVERED,
    STORED,
    SUBSCRIBE,
    Since,
)
from mpchat.rooms.link import Link
from mpchat.rooms.member import MEMBER, READING, Inbox, Member
from mpchat.rooms.publishing import Publishing
from mpchat.rooms.registry import Registry
from mpchat.websocket.broadcast import Hall
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn

ROOM, EPOCH = b"a", "0123456789abcdef"


class Broker:
    """The other end, played by the test: what a worker asks, and answers by hand."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.asked: list[bytes] = []
        self.hall = Hall(Turn(loop, lambda: None, lambda: None, Thresholds()), 1_000_000)
        link = cast(Link, self)
        publishing = Publishing(loop, link, 10.0, lambda name: None)
        self.registry = Registry(link, self.hall, publishing, lambda name: None)
        self.say(Welcome(STORED, 1000, EPOCH, 0, 0).pack())

    def send(self, frame: bytes) -> None:
        self.asked.append(frame)

    def say(self, *frames: bytes) -> None:
        self.registry.receive(list(frames))
        self.hall.deliver()

    def question(self, kind: int) -> int:
        """Return the number of the question of this kind that was asked last."""
        parsers: dict[int, Any] = {JOIN: Join, SUBSCRIBE: Subscribe, HISTORY: History}
        frames = [frame for frame in self.asked if frame[4] == kind]
        number: int = parsers[kind].parse(frames[-1]).number
        return number

    def join(self) -> Member:
        """Return a member that waits for its answer."""
        member = Member(self.registry, ROOM, None, None)
        member.ensure_extra().inbox = Inbox()
        self.registry.join(member, b"", None)
        return member

    def joined(self, mark: int) -> bytes:
        number = self.question(JOIN)
        return Answer(JOINED, number, RECOVERED, offset=mark, at=1, mark=mark).pack()


def record(offset: int) -> bytes:
    payload = b"at %d" % offset
    return pack(MESSAGE, 0, ROOM, b"", b"", payload, offset, UNKNOWN, 1, 1, 1, 1)[0]


def taken(member: Member) -> list[bytes]:
    assert member.extra is not None
    assert member.extra.inbox is not None
    return [message.payload for message in member.extra.inbox.messages]


def page(kind: int, number: int, start: int, mark: int, *offsets: int, more: bool = False) -> bytes:
    flags = RECOVERED | (MORE if more else 0)
    records = b"".join(map(record, offsets))
    return Answer(kind, number, flags, offset=start, at=1, mark=mark, records=records).pack()


async def test_who_joins_behind_a_gap_leaves_it_to_the_others() -> None:
    broker = Broker()
    old = broker.join()
    broker.say(broker.joined(100), record(200))
    # The worker has stood still: a new member's JOIN waits behind what was lost.
    new = broker.join()
    broker.say(pack_lost(0), broker.joined(400))
    broker.say(record(500))
    broker.say(page(JOINED, broker.question(SUBSCRIBE), 200, 500, 300, 400, 500))
    broker.say(record(600))
    assert taken(old) == [b"at 200", b"at 300", b"at 400", b"at 500", b"at 600"]
    # It asks for its own page, from where it has joined.
    assert new.state is READING
    broker.registry.read_on(new, Since(EPOCH, 400))
    broker.say(page(HISTORY_PAGE, broker.question(HISTORY), 400, 600, 500, 600), record(700))
    assert taken(new) == [b"at 500", b"at 600", b"at 700"]
    assert taken(old)[-1:] == [b"at 700"]


@pytest.mark.parametrize("more", [False, True])
async def test_who_joins_between_two_pages_leaves_the_second_to_the_others(more: bool) -> None:
    broker = Broker()
    old = broker.join()
    broker.say(broker.joined(100), record(200))
    new = broker.join()
    broker.registry.disconnected()
    broker.registry.connected()
    broker.say(Welcome(STORED, 1000, EPOCH, 0, 500).pack())
    broker.say(page(JOINED, broker.question(SUBSCRIBE), 200, 500, 300, more=more))
    broker.say(broker.joined(500))
    if more:
        broker.say(page(HISTORY_PAGE, broker.question(HISTORY), 300, 500, 400, 500))
        assert taken(old) == [b"at 200", b"at 300", b"at 400", b"at 500"]
    broker.say(record(600))
    assert taken(old)[-1:] == [b"at 600"]
    assert new.state is (READING if more else MEMBER)


async def test_a_loss_between_two_pages_makes_the_room_begin_once_more() -> None:
    """Trap: the broker sends no more records of it, and the last page has none to show that."""
    broker = Broker()
    member = broker.join()
    broker.say(broker.joined(100), record(200))
    broker.registry.disconnected()
    broker.registry.connected()
    broker.say(Welcome(STORED, 1000, EPOCH, 0, 500).pack())
    broker.say(page(JOINED, broker.question(SUBSCRIBE), 200, 500, 300, more=True))
    asked = len(broker.asked)
    broker.say(pack_lost(0))
    broker.say(page(HISTORY_PAGE, broker.question(HISTORY), 300, 500, 400))
    (again,) = [Subscribe.parse(frame) for frame in broker.asked[asked:]]
    assert (again.since, again.counted) == (Since(EPOCH, 400, 1), 1)
    broker.say(page(JOINED, again.number, 400, 600, 600), record(700))
    assert taken(member) == [b"at 200", b"at 300", b"at 400", b"at 600", b"at 700"]

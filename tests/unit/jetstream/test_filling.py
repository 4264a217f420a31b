"""Reading a room without holes, also where replicas are behind, silent or alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mpchat.jetstream.api import Api, Batch
from mpchat.jetstream.errors import ConnectionLost, Incomplete, NoLeader, NoReply, Unavailable
from mpchat.jetstream.filling import TRIES, anchor, fill, newest
from mpchat.jetstream.messages import Stored
from tests.kit.nats import NatsServer
from tests.unit.jetstream.rig import Rig, joined


class Behind(Api):
    """A stream whose replicas are behind, as the real ones are for milliseconds.

    Attributes:
        script: What becomes of the next answers: None: a real one; a sequence: what is behind it is not
            there yet; an exception.
        leader_answers: Whether the leader does.
        asked: How often replicas and the leader were asked.
    """

    def __init__(
        self, rig: Rig, *script: int | Exception | None, leader_answers: bool = True
    ) -> None:
        super().__init__(rig.connection, rig.subjects)
        self.script = [*script]
        self.leader_answers = leader_answers
        self.asked = [0, 0]

    def _next(self) -> int | Exception | None:
        self.asked[0] += 1
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return step

    async def batch(self, *args: Any, **details: Any) -> Batch:
        step = self._next()
        found = await super().batch(*args, **details)
        if not isinstance(step, int):
            return found
        there = [message for message in found.messages if message.seq <= step]
        return Batch(there, 0, there[-1].seq if there else 0)

    async def message(self, seq: int, timeout: float = 1.0) -> Stored | None:
        step = self._next()
        found = await super().message(seq, timeout)
        return None if isinstance(step, int) and seq > step else found

    async def _leader(self, body: Any, timeout: float) -> Stored | None:
        self.asked[1] += 1
        if not self.leader_answers:
            raise NoLeader("of a test")
        return await super()._leader(body, timeout)


async def two_rooms(rig: Rig, count: int) -> None:
    """Have messages of the room a at odd sequences, and others between."""
    for number in range(count):
        await rig.say("a", f"{number}")
        await rig.say("b", f"{number}")


def seqs(found: list[Stored]) -> list[int]:
    return [message.seq for message in found]


async def test_what_is_between_two_sequences(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 5)
        assert seqs(await fill(rig.api, "a", 0, 9)) == [1, 3, 5, 7, 9]
        assert seqs(await fill(rig.api, "a", 1, 9)) == [3, 5, 7, 9]
        assert seqs(await fill(rig.api, "a", 1, 5)) == [3, 5]
        assert seqs(await fill(rig.api, "a", 2, 3)) == [3]
        assert seqs(await fill(rig.api, "a", 9, 9)) == []
        assert seqs(await fill(rig.api, "a", 9, 3)) == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"most_messages": 2}, [3, 5]),
        ({"most_messages": 0}, []),
        ({"most_messages": 4}, [3, 5, 7, 9]),
        ({"most_bytes": 3}, [3, 5, 7]),
        # One at the least, or a caller that reads on would get nowhere.
        ({"most_bytes": 0}, [3]),
    ],
)
async def test_the_oldest_come_first_within_limits(
    server: NatsServer, limits: dict[str, Any], expected: list[int]
) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 5)
        assert seqs(await fill(rig.api, "a", 1, 9, **limits)) == expected


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ([0], [2, 0]),
        ([0, 1, 1, 3, 3, 3], [7, 0]),
        ([0] * (TRIES - 1), [TRIES, 0]),
        ([NoReply("hung")] * (TRIES - 1), [TRIES, 0]),
        ([NoReply("hung"), Incomplete("a hole"), NoLeader("starting"), 0], [5, 0]),
        # From here on the leader is asked, for each message that no replica has.
        ([0] * TRIES, [TRIES + 1, 1]),
        ([0] * (TRIES + 4), [TRIES + 4, 5]),
        ([NoReply("hung")] * (TRIES + 1), [TRIES + 2, 2]),
    ],
)
async def test_replicas_that_are_behind_or_hang(
    server: NatsServer, script: list[Any], asked: list[int]
) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 5)
        api = Behind(rig, *script)
        found = await fill(api, "a", 0, 9)
        assert [(message.seq, message.data) for message in found] == [
            (1, b"0"), (3, b"1"), (5, b"2"), (7, b"3"), (9, b"4")
        ]  # fmt: skip
        assert api.asked == asked


async def test_the_leaders_no_is_one(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 3)
        api = Behind(rig)
        # The message with this sequence is gone, or was never of this room.
        assert seqs(await fill(api, "a", 0, 20)) == [1, 3, 5]
        assert api.asked[1] == 1


@pytest.mark.parametrize("step", [0, NoReply("hung")])
async def test_neither_replicas_nor_the_leader_answer(server: NatsServer, step: Any) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 1)
        with pytest.raises(Unavailable):
            await fill(Behind(rig, *[step] * TRIES, leader_answers=False), "a", 0, 1)


async def test_a_loss_is_told_at_once(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 1)
        api = Behind(rig, *[ConnectionLost("of a test")] * 3)
        for request in (fill(api, "a", 0, 1), newest(api, "a", 1), anchor(api, 1, 0)):
            with pytest.raises(ConnectionLost):
                await request


async def test_more_than_one_answer_takes(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        size, count = 50_000, 45
        for number in range(count):
            await rig.api.publish("a", bytes(size), id=f"{number}", timeout=20)
        api = Behind(rig)
        assert seqs(await fill(api, "a", 0, count)) == [*range(1, count + 1)]
        assert api.asked[0] > 1
        assert len(await fill(api, "a", 0, count, most_bytes=30 * size)) == 30


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
async def test_the_newest_messages(server: NatsServer, count: int) -> None:
    async with joined(server.url) as rig:
        chance = random.Random(count)
        mine: list[int] = []
        await rig.say("z", "before")
        for number in range(count):
            for other in range(chance.randrange(4)):
                await rig.say("b", f"{number}-{other}")
            mine += await rig.say("a", f"{number}")
        await rig.say("z", "behind")
        for most in (0, 1, 2, 3, 5, 16, 17, 18, 1000):
            found = await newest(rig.api, "a", most)
            assert seqs(found) == (mine[-most:] if most else []), most
            assert all(message.token == "a" for message in found)


async def test_the_newest_messages_where_the_oldest_are_gone(server: NatsServer) -> None:
    async with joined(server.url, max_bytes=20_000) as rig:
        for number in range(100):
            await rig.api.publish("a", bytes(1000), id=f"{number}", timeout=20)
        first = (await rig.api.info()).first_seq
        assert first > 50
        assert seqs(await newest(rig.api, "a", 5)) == [*range(96, 101)]
        assert seqs(await newest(rig.api, "a", 1000)) == [*range(first, 101)]


async def test_the_newest_messages_where_replicas_are_behind(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 20)
        # Some of the answers by which it looks, or some of those that it reads.
        for script in ([30] * 3, [NoReply("hung")] * 3, [None] * 7 + [37] * 3):
            found = seqs(await newest(Behind(rig, *script), "a", 5))
            assert found == [31, 33, 35, 37, 39]
        with pytest.raises(Unavailable):
            await newest(Behind(rig, *[NoReply("hung")] * TRIES), "a", 5)


async def test_an_anchor_is_a_message_and_its_time(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await two_rooms(rig, 2)
        found = await rig.api.message(3)
        assert found is not None
        for api in (rig.api, Behind(rig, 2), Behind(rig, NoReply("hung"))):
            assert await anchor(api, 3, found.at_ms)
        assert await anchor(rig.api, 3, 0)
        assert not await anchor(rig.api, 3, found.at_ms + 1), "the sequence has come again"
        assert not await anchor(rig.api, 5, 0)
        with pytest.raises(Unavailable):
            await anchor(Behind(rig, 2, leader_answers=False), 3, 0)

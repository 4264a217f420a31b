"""What becomes of rooms when their broker ends, and another one takes its place."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.components.context import Context
from mpchat.ipc.rooms import MAX_OPEN
from mpchat.rooms.errors import Behind, Unavailable
from mpchat.rooms.rooms import Rooms
from mpchat.websocket.connection import WebSocketConnection
from tests.unit.rooms.rig import served, until_members
from tests.unit.rooms.test_rooms import TAGS


async def test_a_publish_waits_for_the_next_broker() -> None:
    async with served() as service, service.rooms.join("a", None) as room:
        service.kill_broker()
        publishes = [asyncio.create_task(room.publish(f"{number}")) for number in range(10)]
        await asyncio.sleep(0.01)
        assert not any(publish.done() for publish in publishes)
        service.start_broker()
        positions = await asyncio.gather(*publishes)
        assert positions == sorted(positions)
        assert [(await anext(room)).data for _ in range(10)] == [str(n) for n in range(10)]


async def test_open_publishes_are_repeated_in_order_and_stored_once() -> None:
    async with served() as service, service.rooms.join("a", None) as room:
        publishes = [asyncio.create_task(room.publish(f"{number}")) for number in range(10)]
        # They are sent, and perhaps stored: the broker dies before its answers are read.
        for _ in range(3):
            await asyncio.sleep(0)
        service.kill_broker()
        publishes += [asyncio.create_task(room.publish(f"{number}")) for number in range(10, 20)]
        service.start_broker()
        await asyncio.gather(*publishes)
        assert [(await anext(room)).data for _ in range(20)] == [str(n) for n in range(20)]
        found = await service.rooms.history("a", limit=100)
        assert len(found.messages) == 20


async def test_a_join_waits_for_the_next_broker() -> None:
    async with served() as service:
        service.kill_broker()

        async def join() -> str:
            async with service.rooms.join("a", None) as room:
                await room.publish("x")
                return str((await anext(room)).data)

        joining = asyncio.create_task(join())
        await asyncio.sleep(0.01)
        service.start_broker()
        assert await joining == "x"


async def test_without_a_broker_nobody_waits_for_ever() -> None:
    async with served() as service:
        rooms = service.rooms
        rooms.side.limit = 0.05
        service.kill_broker()
        await asyncio.sleep(0)
        for ask in (rooms.members("a"), rooms.history("a"), rooms.join("a", None).__aenter__()):
            with pytest.raises(Unavailable):
                await ask
        service.start_broker()
        assert (await rooms.members("a")).number == 0


async def test_members_do_not_notice_and_are_counted_again() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("a", chat, info=context.path_params["room"], form=TAGS):
            await chat.recv()

    async with (
        served(handle) as service,
        service.client.get("one") as one,
        service.rooms.join("a", None),
    ):
        await until_members(service, 2)
        assert await one.recv() == "a True"
        service.kill_broker()
        service.start_broker()
        found = await service.rooms.members("a")
        assert (found.number, found.infos) == (2, ["one"])
        await service.rooms.publish("a", "x")
        assert await one.recv() == "<x>"


async def test_what_was_published_elsewhere_meanwhile_is_not_missed() -> None:
    """Another worker's publish may reach the next broker before this worker does."""
    async with served() as service, service.rooms.join("a", None) as room:
        await room.publish("before")
        service.kill_broker()
        pending = asyncio.create_task(room.publish("meanwhile"))
        service.start_broker()
        await pending
        await room.publish("after")
        got = [(await anext(room)).data for _ in range(3)]
        assert got == ["before", "meanwhile", "after"]


@pytest.mark.covers("RoomsOptions.history-memory")
@pytest.mark.parametrize("history", [0, 1024 * 1024])
async def test_without_history_members_have_to_come_back(history: int) -> None:
    async with served(history_memory=history) as service, service.client.get("a") as chat:
        await until_members(service, 1)
        async with service.rooms.join("a", None) as room:
            service.kill_broker()
            service.start_broker()
            if history:
                await service.rooms.publish("a", "x")
                assert await chat.recv() == "x"
                return
            with pytest.raises(Behind):
                await anext(room)
        with pytest.raises(ConnectionClosed):
            await chat.recv()
        assert chat.close_code == 1013
        await until_members(service, 0)


async def test_a_room_that_was_left_meanwhile_is_left() -> None:
    async with served() as service:
        async with service.rooms.join("a", None):
            service.kill_broker()
        service.start_broker()
        await until_members(service, 0)


async def test_more_than_the_broker_remembers_wait() -> None:
    async with served() as service, service.rooms.join("a", None) as room:
        service.kill_broker()
        count = 3 * MAX_OPEN
        publishes = [asyncio.create_task(room.publish(f"{number}")) for number in range(count)]
        await asyncio.sleep(0)
        assert len(service.rooms.side.publishing._open) <= MAX_OPEN
        service.start_broker()
        await asyncio.gather(*publishes)
        assert [(await anext(room)).data for _ in range(count)] == [str(n) for n in range(count)]


async def test_a_cancelled_publish_is_not_sent_again() -> None:
    async with served() as service, service.rooms.join("a", None) as room:
        service.kill_broker()
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await room.publish("cancelled")
        service.start_broker()
        await room.publish("x")
        assert (await anext(room)).data == "x"


@pytest.mark.parametrize("seed", range(4))
async def test_brokers_killed_at_random_moments(seed: int) -> None:
    rng = random.Random(seed)
    async with served() as service, contextlib.AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(service.rooms.join(name, None))
            for name in ("a", "a", "b")
        ]
        counts = {"a": 0, "b": 0}

        async def publish(who: int) -> None:
            for number in range(40):
                name = rng.choice("ab")
                counts[name] += 1
                await service.rooms.publish(name, f"{who}:{number}")
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)

        publishers = [asyncio.create_task(publish(who)) for who in range(4)]
        while not all(publisher.done() for publisher in publishers):
            for _ in range(rng.randrange(40)):
                await asyncio.sleep(0)
            service.kill_broker()
            for _ in range(rng.randrange(10)):
                await asyncio.sleep(0)
            service.start_broker()
            for _ in range(60):
                await asyncio.sleep(0)
        await asyncio.gather(*publishers)
        got = []
        for member in members:
            got.append([await anext(member) for _ in range(counts[member.name])])
    assert [one.offset for one in got[0]] == [one.offset for one in got[1]]
    for messages in got:
        offsets = [one.offset for one in messages]
        assert offsets == sorted(set(offsets))
    said = [str(one.data) for messages in got[1:] for one in messages]
    assert len(set(said)) == len(said) == 160
    for messages in got:
        for who in range(4):
            numbers = [
                int(str(one.data).split(":")[1])
                for one in messages
                if str(one.data).startswith(f"{who}:")
            ]
            assert numbers == sorted(numbers)

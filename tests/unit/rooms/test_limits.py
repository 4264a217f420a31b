"""The options of rooms that bound what the broker keeps, and what it tells."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from mpchat.rooms.member import Allowance
from mpchat.rooms.options import RoomsOptions
from tests.unit.rooms.rig import Service, publish, served

KIB = 1024


async def recoverable(service: Service, texts: list[str]) -> tuple[bool, list[str]]:
    """Publish these, and return what a client gets that has seen the first one."""
    first, *_ = [await service.rooms.publish("a", text) for text in texts]
    found = await service.rooms.history("a", first, limit=1000)
    return found.recovered, [str(one.data) for one in found.messages]


@pytest.mark.covers("RoomsOptions.history-size")
async def test_a_room_keeps_so_many_messages() -> None:
    async with served(history_size=5) as service:
        assert await recoverable(service, list("abcdef")) == (True, list("bcdef"))
        recovered, _texts = await recoverable(service, list("abcdefg"))
        assert not recovered
        newest = await service.rooms.history("a", limit=1000)
        assert [one.data for one in newest.messages] == list("cdefg")


@pytest.mark.covers("RoomsOptions.history-bytes")
async def test_a_room_keeps_so_many_bytes() -> None:
    async with served(history_bytes=10 * KIB) as service:
        recovered, _texts = await recoverable(service, ["x" * KIB] * 5)
        assert recovered
        recovered, _texts = await recoverable(service, ["x" * KIB] * 20)
        assert not recovered


@pytest.mark.covers("RoomsOptions.history-age")
async def test_a_room_keeps_messages_so_long() -> None:
    async with served(history_age="1s") as service:
        first = await service.rooms.publish("a", "first")
        await service.rooms.publish("a", "second")
        async with asyncio.timeout(10):
            while (await service.rooms.history("a", first)).recovered:  # noqa: ASYNC110 - it has to be asked
                await asyncio.sleep(0.05)
        assert (await service.rooms.history("a")).messages == []


@pytest.mark.covers("RoomsOptions.max-client-ids")
async def test_so_many_ids_are_remembered() -> None:
    async with served(max_client_ids=4) as service:
        first = await service.rooms.publish("a", "x", id="0")
        assert await service.rooms.publish("a", "x", id="0") == first
        for number in range(1, 40):
            await service.rooms.publish("a", "x", id=f"{number}")
        assert await service.rooms.publish("a", "x", id="0") != first


@pytest.mark.covers("RoomsOptions.presence")
async def test_without_presence_nobody_is_listed() -> None:
    async with (
        served(presence=False) as service,
        service.rooms.join("a", None, info="somebody") as room,
    ):
        assert await room.members() == (1, None)
    async with served() as service, service.rooms.join("a", None, info="somebody") as room:
        assert await room.members() == (1, ["somebody"])


@pytest.mark.covers("RoomsOptions.worker-backlog")
async def test_a_worker_that_does_not_read_is_sent_the_rest_later() -> None:
    async with served(worker_backlog=64 * KIB) as service, service.rooms.join("a", None) as room:
        link = service.rooms.side.link
        # As if the worker's loop were busy: nothing is read until all is published.
        [descriptor] = service.rooms._pairs.held()
        service.worker._loop.remove_reader(descriptor)
        broker = service.broker
        answers = []
        async with asyncio.timeout(10):
            for number in range(1, 601):
                side = service.rooms.side
                answers.append(publish(side, b"x" * KIB, as_member=True))
                while broker.published < number:  # noqa: ASYNC110 - it tells no one
                    await asyncio.sleep(0)
        assert broker.status()["behind"] == 1
        service.worker._loop.add_reader(descriptor, link._read)
        got = [await anext(room) for _ in range(600)]
        positions = await asyncio.gather(*answers)
        assert [one.position for one in got] == positions


def test_an_allowance_is_a_second_s_worth() -> None:
    allowance = Allowance(5)
    assert [allowance.takes(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [allowance.takes(100.4) for _ in range(3)] == [True] * 2 + [False]
    assert [allowance.takes(200.0) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("size", [1, 1024 * KIB - 1])
def test_a_history_is_not_too_small(size: int) -> None:
    with pytest.raises(ValidationError, match="expected 0, or at least 1048576 bytes"):
        RoomsOptions.model_validate({"history-memory": size})

"""The handler and its rooms in one worker, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from mpchat import Rooms
from mpchat.testing import Worker, serve

from chat import Chat

PROTOCOL = "mpchat.room.v1"


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    """Run the rooms in memory."""
    async with serve({Rooms: {}, Chat: {"path": "/rooms/{room}"}}) as worker:
        yield worker


async def test_all_members_hear_what_one_says(worker: Worker) -> None:
    client = worker.websocket_client
    async with client.get("rooms/lobby") as ada, client.get("rooms/lobby") as bob:
        await worker.rooms.joined("lobby", 2)
        for text in ("hello", "", "Grüße"):
            await ada.send(text)
            assert (await ada.recv(), await bob.recv()) == (text, text)


async def test_there_are_no_other_rooms(worker: Worker) -> None:
    async with worker.websocket_client.get("rooms/cellar") as chat:
        await chat.wait_closed()
    assert chat.close_code == 4404


async def test_a_room_may_come_meanwhile(worker: Worker) -> None:
    worker.dynamic_config.set(CHAT_ROOMS=["lobby", "cellar"])
    async with worker.websocket_client.get("rooms/cellar"):
        await worker.rooms.joined("cellar", 1)


async def test_who_comes_back_gets_what_was_missed(worker: Worker) -> None:
    client = worker.websocket_client
    async with client.get("rooms/lobby", subprotocols=[PROTOCOL]) as ada:
        seen = json.loads(await ada.recv())
    async with client.get("rooms/lobby") as bob:
        await bob.send("hello")
        assert await bob.recv() == "hello"
    position = f"{seen['epoch']}:{seen['offset']}:{seen['at']}"
    path = f"rooms/lobby?since={position}"
    async with client.get(path, subprotocols=[PROTOCOL]) as ada:
        assert json.loads(await ada.recv())["recovered"] is True
        assert json.loads(await ada.recv())["data"] == "hello"

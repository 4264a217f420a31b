"""Rooms in a real service: members in several workers, and what kills of processes leave of that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.waiting import eventually

V1 = ["mpchat.room.v1"]
SECONDS = 15.0


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["rooms"] = {"history-memory": 4 * 1024 * 1024}
    components["room-handler"] = {"path": "/rooms/{room}"}
    pools = service_config_yaml["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 2
    return service_config_yaml


class Client:
    """A client of ``mpchat.room.v1`` that comes back with its position, and keeps what it was sent."""

    def __init__(self, websocket_client: WebsocketClient, name: str) -> None:
        self._client = websocket_client
        self._name = name
        self._chat: ClientConnection | None = None
        self._acks: dict[str, asyncio.Future[int]] = {}
        self.position = ""
        self.got: list[Any] = []
        self.offsets: list[int] = []
        self.gaps = 0
        self.codes: list[int | None] = []
        self.is_in = asyncio.Event()

    async def run(self) -> None:
        while True:
            # Who is killed within a handshake has answered nothing.
            with contextlib.suppress(ConnectionClosed, InvalidMessage, OSError):
                await self._connect()
            self.is_in.clear()
            self._chat = None
            await asyncio.sleep(0.01)

    async def _connect(self) -> None:
        since = f"&since={self.position}" if self.position else ""
        path = f"rooms/a?client={self._name:-<16}{since}"
        async with self._client.get(path, subprotocols=V1) as chat:
            try:
                first = json.loads(await chat.recv())
                epoch = first["epoch"]
                self.gaps += not first["recovered"]
                self.position = f"{epoch}:{first['offset']}:{first['at']}"
                self._chat = chat
                self.is_in.set()
                async for text in chat:
                    self._take(json.loads(text), epoch)
            finally:
                self.codes.append(chat.close_code)

    def _take(self, frame: dict[str, Any], epoch: str) -> None:
        if "data" in frame:
            self.got.append(frame["data"])
            self.offsets.append(frame["offset"])
            self.position = f"{epoch}:{frame['offset']}:{frame['at']}"
        elif "ack" in frame and (answer := self._acks.get(frame["ack"])) and not answer.done():
            answer.set_result(frame["offset"])

    async def publish(self, data: Any) -> int:
        """Publish until it is acknowledged, with the same id."""
        name = f"id {data}"
        answer = self._acks[name] = asyncio.get_running_loop().create_future()
        while True:
            await self.is_in.wait()
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                # It may have ended again before we were woken.
                if self._chat is not None:
                    await self._chat.send(json.dumps({"publish": name, "data": data}))
                    async with asyncio.timeout(0.5):
                        return await asyncio.shield(answer)
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def clients(
    websocket_client: WebsocketClient, control: Control, count: int = 6
) -> AsyncIterator[list[Client]]:
    """So many clients in one room, or more, until some of them are in each worker."""
    found: list[Client] = []
    running: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as tasks:
        while len(found) < count or not all(row["connections"] for row in control.workers()):
            assert len(found) < 10 * count
            found.append(Client(websocket_client, f"client-{len(found)}"))
            running.append(tasks.create_task(found[-1].run()))
            await found[-1].is_in.wait()
        yield found
        for task in running:
            task.cancel()


async def all_have(members: list[Client], expected: list[Any]) -> None:
    await eventually(
        lambda: all(len(one.got) >= len(expected) for one in members),
        f"{len(expected)} messages at each",
        SECONDS,
    )
    for one in members:
        assert one.got == expected
        assert one.offsets == members[0].offsets == sorted(set(one.offsets))
        assert one.gaps == 0


async def test_what_one_says_reaches_all_in_one_order(
    websocket_client: WebsocketClient, control: Control
) -> None:
    async with clients(websocket_client, control) as members:
        for number in range(20):
            await members[number % 6].publish(number)
        await all_have(members, [*range(20)])


async def test_a_killed_broker_loses_and_doubles_nothing(
    websocket_client: WebsocketClient, control: Control, supervisor: Service
) -> None:
    async with clients(websocket_client, control) as members:
        for number in range(60):
            if number % 20 == 10:
                (broker,) = supervisor.pids("broker")
                os.kill(broker, signal.SIGKILL)
            await members[number % 6].publish(number)
        await all_have(members, [*range(60)])
        # Nobody's connection has noticed.
        assert not any(one.codes for one in members)


async def test_a_killed_worker_costs_its_clients_no_message(
    websocket_client: WebsocketClient, control: Control, supervisor: Service
) -> None:
    async with clients(websocket_client, control) as members:
        for number in range(60):
            if number % 20 == 10:
                title = f"worker main-task-processor/{number // 20 % 2}"
                # The last one that was killed may not be back yet.
                (victim,) = await eventually(lambda title=title: supervisor.pids(title), title)  # type: ignore[misc]
                os.kill(victim, signal.SIGKILL)
            await members[number % 6].publish(number)
        await all_have(members, [*range(60)])
        assert any(one.codes for one in members)


async def test_a_restart_costs_no_message(
    websocket_client: WebsocketClient, control: Control
) -> None:
    async with clients(websocket_client, control) as members:
        for number in range(40):
            if number == 10:
                restart = asyncio.create_task(asyncio.to_thread(control.restart))
            await members[number % 6].publish(number)
        await restart
        await members[0].publish(40)
        await all_have(members, [*range(41)])
        # The restart has ended when the last old worker drains.
        await eventually(lambda: all(one.codes for one in members), "an end of all old connections")
        assert {code for one in members for code in one.codes} == {1012}

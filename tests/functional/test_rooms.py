"""Rooms in a real service: members in several workers, and what kills of processes leave of that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.room_client import RoomClient, all_have
from tests.kit.waiting import eventually


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["rooms"] = {"history-memory": 4 * 1024 * 1024}
    components["room-handler"] = {"path": "/rooms/{room}"}
    pools = service_config_yaml["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 2
    return service_config_yaml


@contextlib.asynccontextmanager
async def clients(
    websocket_client: WebsocketClient, control: Control, count: int = 6
) -> AsyncIterator[list[RoomClient]]:
    """So many clients in one room, or more, until some of them are in each worker."""
    found: list[RoomClient] = []
    running: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as tasks:
        while len(found) < count or not all(row["connections"] for row in control.workers()):
            assert len(found) < 10 * count
            found.append(RoomClient(websocket_client, f"client-{len(found)}"))
            running.append(tasks.create_task(found[-1].run()))
            await found[-1].is_in.wait()
        yield found
        for task in running:
            task.cancel()


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

"""Rooms in both test kits: the same tests pass in memory and against the real service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mpchat import default_component_list
from mpchat.testing import serve_config
from mpchat.testing.rooms import MemoryMemberships
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.rooms import Memberships
from mpchat.testsuite.service import Service


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["rooms"] = {"history-memory": 2 * 1024 * 1024}
    components["room-handler"] = {"path": "/rooms/{room}"}
    return service_config_yaml


@dataclass
class Kit:
    """The fixtures of either."""

    websocket_client: WebsocketClient
    rooms: Memberships


@pytest.fixture(params=["memory", "process"])
async def kit(request: pytest.FixtureRequest, service_config_path_temp: Path) -> AsyncIterator[Any]:
    if request.param == "process":
        yield Kit(*(request.getfixturevalue(name) for name in Kit.__annotations__))
        return
    async with serve_config(
        default_component_list(), service_config_path_temp, time_limit=5
    ) as worker:
        yield worker


@pytest.mark.shared_service
async def test_who_has_joined_hears_all(kit: Kit) -> None:
    get = kit.websocket_client.get
    async with get("rooms/a") as one, get("rooms/a") as two, get("rooms/b"):
        await kit.rooms.joined("a", 2)
        await kit.rooms.joined("b", 1)
        for text in ("hello", "again"):
            await one.send(text)
            assert (await one.recv(), await two.recv()) == (text, text)
        await two.close()
        await kit.rooms.joined("a", 1)
    await kit.rooms.joined("a", 0)


@pytest.mark.shared_service
async def test_all_are_waited_for(kit: Kit) -> None:
    waiting = asyncio.create_task(kit.rooms.joined("ä b", 3))
    get = kit.websocket_client.get
    async with get("rooms/%C3%A4%20b"), get("rooms/%C3%A4%20b"):
        await kit.rooms.joined("ä b", 2)
        assert not waiting.done()
        async with get("rooms/%C3%A4%20b"):
            await waiting


@pytest.mark.shared_service
async def test_a_missing_member_is_an_error(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit.websocket_client.get("rooms/a"):
        await kit.rooms.joined("a", 1)
        # Time enough for a busy service to say how many there are.
        monkeypatch.setattr(kit.rooms, "_seconds", 2)
        expected = r"room 'a' did not have 2 members within 2 s: there are 1"
        with pytest.raises(TimeoutError, match=expected):
            await kit.rooms.joined("a", 2)


async def test_a_broker_that_is_replaced_is_waited_for(
    websocket_client: WebsocketClient, rooms: Memberships, supervisor: Service
) -> None:
    async with websocket_client.get("rooms/a") as one, websocket_client.get("rooms/a") as two:
        await rooms.joined("a", 2)
        (broker,) = supervisor.pids("broker")
        supervisor.freeze(broker)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rooms, "_seconds", 0.05)
            with pytest.raises(TimeoutError, match=r"s: the service does not answer$"):
                await rooms.joined("a", 2)
        os.kill(broker, signal.SIGKILL)
        await rooms.joined("a", 2)
        await one.send("hello")
        assert (await one.recv(), await two.recv()) == ("hello", "hello")


async def test_a_service_that_has_ended_has_no_members(
    rooms: Memberships, supervisor: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.stop()
    monkeypatch.setattr(rooms, "_seconds", 0.05)
    with pytest.raises(TimeoutError, match="the service does not answer"):
        await rooms.joined("a", 1)


async def test_a_service_without_rooms_says_so() -> None:
    with pytest.raises(TimeoutError, match="this service has no rooms"):
        await MemoryMemberships(None, 0.05).joined("a", 1)


AUTHOR_CONFIG = """
components_manager:
    task_processors: {main: {worker_threads: 2}}
    default_task_processor: main
    components:
        server:
            listener: {port: 8080}
            control-socket#env: NOWHERE
            control-socket#fallback: /nowhere/control.sock
        rooms: {history-memory: 2097152}
        room-handler: {path: "/rooms/{room}"}
"""

AUTHOR_TEST = """
pytest_plugins = ["mpchat.testsuite"]


async def test_room(websocket_client, rooms):
    async with websocket_client.get("rooms/a") as one, websocket_client.get("rooms/a") as two:
        await rooms.joined("a", 2)
        await one.send("hello")
        assert await two.recv() == "hello"
"""


@pytest.mark.parametrize("folder", ["short", "deep" * 25], ids=["short", "deep"])
def test_an_authors_project(pytester: pytest.Pytester, folder: str) -> None:
    """The path of a socket has a limit; a folder of tests has none, and may be deep."""
    (pytester.path / "static_config.yaml").write_text(AUTHOR_CONFIG)
    (pytester.path / "test_room.py").write_text(AUTHOR_TEST)
    (pytester.path / "conftest.py").write_text('pytest_plugins = ["mpchat.testsuite"]\n')
    options = ("-q", "-o", "asyncio_mode=auto", f"--basetemp={pytester.path / folder}")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)

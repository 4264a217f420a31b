"""Siblings accept for a slot whose own worker cannot."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.ipc.control import ask
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until

APP = """
import os

from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Echo(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        if os.path.exists("broken"):
            raise RuntimeError("the database is not there")

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


def components():
    return minimal_server_component_list().append(Echo)
"""


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(APP)
    return [*service_command, "--app", "app:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, service_tmpdir: Path) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    del components["handler-ping"]
    components["server"]["control-socket"] = str(service_tmpdir / "control.sock")
    return service_config_yaml


Workers = Callable[[], dict[int, dict[str, Any]]]


@pytest.fixture
def workers(supervisor: Service, service_tmpdir: Path) -> Workers:
    """Return what status tells of each slot."""
    path = str(service_tmpdir / "control.sock")
    return lambda: {w["slot"]: w for w in ask(path, {"verb": "status"})["workers"]}


async def assert_all_are_served(client: WebsocketClient) -> None:
    """Connect so often that every slot has had some of the connections."""

    async def talk() -> None:
        async with client.get("chat") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"

    await asyncio.gather(*(talk() for _ in range(60)))


@pytest.fixture
def frozen(supervisor: Service) -> Iterator[int]:
    pid = next(
        pid
        for pid, title in supervisor.children().items()
        if title.endswith("main-task-processor/2")
    )
    supervisor.freeze(pid)
    yield pid
    supervisor.thaw(pid)


async def test_a_worker_that_stands_still_keeps_no_client_waiting(
    supervisor: Service, frozen: int, workers: Workers, websocket_client: WebsocketClient
) -> None:
    await asyncio.to_thread(wait_until, lambda: workers()[2]["helper"], "helper")
    assert workers()[2]["helper"] == "main-task-processor/3"
    await assert_all_are_served(websocket_client)
    assert workers()[2]["silent_seconds"] > 0.5
    supervisor.thaw(frozen)
    await asyncio.to_thread(wait_until, lambda: not workers()[2]["helper"], "end of the help")
    await assert_all_are_served(websocket_client)


async def test_slots_that_crash_at_once_are_served_by_their_siblings(
    supervisor: Service,
    service_tmpdir: Path,
    workers: Workers,
    websocket_client: WebsocketClient,
) -> None:
    (service_tmpdir / "broken").touch()
    for slot in (1, 2):
        os.kill(workers()[slot]["pid"], signal.SIGKILL)

    def helpers() -> list[str]:
        return [workers()[slot]["helper"] for slot in (1, 2)]

    await asyncio.to_thread(wait_until, lambda: all(helpers()), "two helpers")
    assert sorted(helpers()) == ["main-task-processor/0", "main-task-processor/3"]
    await assert_all_are_served(websocket_client)
    # The helper itself goes: the last worker serves all four slots.
    os.kill(workers()[3]["pid"], signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: workers()[3]["helper"], "third helper")
    assert {workers()[slot]["helper"] for slot in (1, 2, 3)} == {"main-task-processor/0"}
    await assert_all_are_served(websocket_client)
    (service_tmpdir / "broken").unlink()
    await asyncio.to_thread(
        wait_until,
        lambda: [w["helper"] for w in workers().values()] == [None] * 4,
        "end of the help",
    )
    await assert_all_are_served(websocket_client)
    assert supervisor.stop() == 0

"""Limits that hold while many come at once, many handlers, and a worker that runs out of descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import InvalidStatus

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import Service
from tests.kit.raw import handshake, message_of
from tests.kit.waiting import eventually

APP = """
import asyncio

from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Chat(WebsocketHandlerBase):
    async def handle_handshake(self, request, context):
        await asyncio.sleep(float(request.headers.get("Decide-In", "0")))

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


def components():
    found = minimal_server_component_list()
    for number in range(20):
        found.append(Chat, f"handler-{number}")
    return found
"""
HANDLERS = 20


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "many.py").write_text(APP)
    return [*service_command, "--app", "many:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    del components["websocket-handler"], components["handler-ping"]
    for number in range(HANDLERS):
        components[f"handler-{number}"] = {"path": f"/{number}"}
    components["handler-1"]["max_requests_in_flight"] = 3
    components["handler-2"]["max_requests_per_second"] = 5
    return service_config_yaml


async def try_all(
    client: WebsocketClient, path: str, count: int, stack: contextlib.AsyncExitStack, **headers: str
) -> Counter[str]:
    """Open that many connections at once and keep them; return how often each reason was given."""

    async def one() -> str:
        try:
            await stack.enter_async_context(client.get(path, additional_headers=headers))
        except InvalidStatus as error:
            assert error.response.status_code == 503
            return message_of(error)
        return ""

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def test_every_one_of_many_handlers_serves(websocket_client: WebsocketClient) -> None:
    for number in range(HANDLERS):
        async with websocket_client.get(str(number)) as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"


async def test_limits_hold_while_handshakes_are_decided_on(
    websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    dynamic_config.set(MPCHAT_LIMITS={"max_connections": 4})
    decide_late = {"Decide-In": "0.5"}
    async with contextlib.AsyncExitStack() as stack:
        answers = await try_all(websocket_client, "0", 40, stack, **decide_late)
        # Workers that count at the same moment may turn away one too many, and never let one in.
        assert 1 <= answers[""] <= 4
        assert answers["too many connections to the service"] == 40 - answers[""]
    dynamic_config.remove("MPCHAT_LIMITS")
    async with contextlib.AsyncExitStack() as stack:
        answers = await try_all(websocket_client, "1", 30, stack, **decide_late)
        assert 1 <= answers[""] <= 3
        assert answers["too many connections to this handler"] == 30 - answers[""]
    # Those that were refused and those that have ended hold no place.
    async with contextlib.AsyncExitStack() as stack:
        deadline = time.monotonic() + 30
        while not (await try_all(websocket_client, "1", 1, stack))[""]:
            assert time.monotonic() < deadline


async def test_a_rate_is_that_of_all_workers_together(websocket_client: WebsocketClient) -> None:
    begun = int(time.time())
    async with contextlib.AsyncExitStack() as stack:
        answers = await try_all(websocket_client, "2", 100, stack)
    seconds = int(time.time()) - begun + 1
    assert 1 <= answers[""] <= 5 * seconds
    assert answers["too many handshakes per second"] == 100 - answers[""]


async def test_a_rate_of_messages_counts_those_before_the_question(
    websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    dynamic_config.set(MPCHAT_LIMITS={"max_messages_per_second": 50})
    async with websocket_client.get("0") as chat:
        refused = False
        deadline = time.monotonic() + 30
        while not refused:
            assert time.monotonic() < deadline
            for _ in range(100):
                await chat.send("x")
                await chat.recv()
            try:
                async with websocket_client.get("0"):
                    pass
            except InvalidStatus as error:
                refused = message_of(error) == "too many messages per second"


async def test_a_worker_without_descriptors_takes_the_next_generation(
    service_command: list[str],
    service_config_path_temp: Path,
    config_fallback_path: Path,
    service_tmpdir: Path,
) -> None:
    config = yaml.safe_load(service_config_path_temp.read_text())
    config["components_manager"]["task_processors"]["main-task-processor"]["worker_threads"] = 1
    service_config_path_temp.write_text(yaml.safe_dump(config))
    command = [*service_command, "--config", str(service_config_path_temp)]
    service = Service(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command], service_tmpdir)
    try:
        await asyncio.to_thread(service.wait_ready)
        held = [socket.create_connection(("localhost", service.port)) for _ in range(80)]
        await eventually(lambda: "cannot accept" in service.stderr(), "want of descriptors")
        config_fallback_path.write_text(json.dumps({"MPCHAT_LIMITS": {"max_connections": 0}}))
        assert "generation 2" in await asyncio.to_thread(service.reload)
        for client in held:
            client.close()
        with socket.create_connection(("localhost", service.port)) as client:
            client.sendall(handshake("/0"))
            client.settimeout(30)
            assert client.recv(100).startswith(b"HTTP/1.1 503 ")
        assert "has not confirmed" not in service.stderr()
    finally:
        service.close()

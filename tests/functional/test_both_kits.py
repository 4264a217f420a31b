"""The same test passes in memory and against the real service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from mpchat.handlers.lists import default_component_list
from mpchat.testing import serve_config
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.logs import CaptureLogs

pytestmark = [
    pytest.mark.shared_service,
    pytest.mark.parametrize("kind", ["memory", "process"]),
]


@dataclass
class Kit:
    """The fixtures of either."""

    websocket_client: WebsocketClient
    service_client: ServiceClient
    dynamic_config: DynamicConfig
    capture_logs: CaptureLogs


@pytest.fixture
async def kit(
    kind: str, request: pytest.FixtureRequest, service_config_path: Path
) -> AsyncIterator[Any]:
    if kind == "process":
        yield Kit(*(request.getfixturevalue(name) for name in Kit.__annotations__))
        return
    async with serve_config(default_component_list(), service_config_path) as worker:
        yield worker


async def test_messages_and_their_end(kit: Kit) -> None:
    async with kit.websocket_client.get("chat") as chat:
        for message in ("text", b"bytes", "", "x" * 60_000):
            await chat.send(message)
            assert await chat.recv() == message
        assert await (await chat.ping()) >= 0
    assert (chat.close_code, chat.close_reason) == (1000, "")


async def test_a_message_that_is_too_long(kit: Kit) -> None:
    async with kit.websocket_client.get("chat") as chat:
        await chat.send("x" * 200_000)
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


async def test_plain_requests(kit: Kit) -> None:
    client = kit.service_client
    answer = await client.get("/ping", headers={"X-Test": "1"})
    assert (answer.status, answer.content) == (200, b"")
    assert answer.headers.keys() == {"date", "content-length"}
    answer = await client.get("/chat")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    answer = await client.post("/ping", json={})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await client.request("GET", "/nowhere", params={"a": "b c"})).status == 404


async def test_the_dynamic_config_refuses_and_applies(kit: Kit) -> None:
    before = kit.dynamic_config.get("USERVER_LOG_REQUEST")
    with pytest.raises(ValueError, match="MPCHAT_LIMITS: expected a mapping, got 1"):
        kit.dynamic_config.set(MPCHAT_LIMITS=1)
    kit.dynamic_config.set(MPCHAT_LIMITS={"max_connections": 0})
    with pytest.raises(InvalidStatus) as caught:
        await kit.websocket_client.get("chat")
    assert caught.value.response.status_code == 503
    kit.dynamic_config.remove("MPCHAT_LIMITS")
    async with kit.websocket_client.get("chat"):
        pass
    assert kit.dynamic_config.get("USERVER_LOG_REQUEST") is before


async def test_the_log(kit: Kit) -> None:
    async with kit.capture_logs() as logs:
        async with kit.websocket_client.get("chat"):
            pass
        opened = await logs.wait_for(text="GET /chat 101", level="INFO")
        closed = await logs.wait_for(text="closed 1000 after")
    assert opened["module"] == closed["module"] == "mpchat.handlers.websocket-handler"
    assert opened["connection"] == closed["connection"]
    assert opened.keys() == closed.keys()
    assert opened["worker"].startswith("main-task-processor/")

"""What is not a WebSocket connection on the same port."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from mpchat.testsuite.clients import ServiceClient, WebsocketClient

pytestmark = pytest.mark.shared_service

UPGRADE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Version": "13",
}


async def test_ping(service_client: ServiceClient) -> None:
    answer = await service_client.get("/ping")
    assert (answer.status, answer.content) == (200, b"")


async def test_statuses(service_client: ServiceClient) -> None:
    assert (await service_client.get("/nowhere")).status == 404
    # Not there, since the config has no section for it.
    assert (await service_client.post("/tests/control", {})).status == 404
    posted = await service_client.post("/ping", data=b"body")
    assert (posted.status, posted.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await service_client.get("/chat")).status == 426
    old = await service_client.get("/chat", headers={**UPGRADE, "Sec-WebSocket-Version": "8"})
    assert (old.status, old.headers["sec-websocket-version"]) == (426, "13")


async def test_keep_alive_and_pipelining(service_port: int) -> None:
    reader, writer = await asyncio.open_connection("localhost", service_port)
    request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writer.write(request * 3)
    for _ in range(3):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
async def test_a_bad_request_gets_its_status(
    service_port: int, request_bytes: bytes, status: int
) -> None:
    reader, writer = await asyncio.open_connection("localhost", service_port)
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), 30)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    writer.close()
    await writer.wait_closed()


async def test_messages_in_the_same_packet_as_the_handshake(service_port: int) -> None:
    reader, writer = await asyncio.open_connection("localhost", service_port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    handshake = f"GET /chat HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    writer.write(handshake + b"\x81\x82\x00\x00\x00\x00hi")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert await asyncio.wait_for(reader.readexactly(4), 30) == b"\x81\x02hi"
    writer.close()
    await writer.wait_closed()


@pytest.mark.covers("Limits.max_connections", "MPCHAT_LIMITS")
async def test_max_connections_takes_effect_and_is_lifted(
    websocket_client: WebsocketClient, service_client: ServiceClient, dynamic_config: Any
) -> None:
    async with websocket_client.get("chat") as chat:
        await asyncio.to_thread(dynamic_config.set, MPCHAT_LIMITS={"max_connections": 1})
        refused = await service_client.get("/chat", headers=UPGRADE)
        assert refused.status == 503
        await asyncio.to_thread(dynamic_config.set, MPCHAT_LIMITS={"max_connections": 2})
        async with websocket_client.get("chat") as second:
            await second.send("in")
            assert await second.recv() == "in"
        await chat.send("still here")
        assert await chat.recv() == "still here"

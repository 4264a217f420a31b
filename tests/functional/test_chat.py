"""The echo as a client sees it."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import CloseCode

from mpchat.testsuite.clients import WebsocketClient

pytestmark = pytest.mark.shared_service


async def test_echo(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("hello")
        assert await chat.recv() == "hello"


async def test_every_kind_of_message_comes_back(websocket_client: WebsocketClient) -> None:
    messages: list[str | bytes] = ["", "päivää ✓", b"", b"\x00\xff", "x" * 126, b"y" * 65_536]
    async with websocket_client.get("chat") as chat:
        for message in messages:
            await chat.send(message)
        assert [await chat.recv() for _ in messages] == messages


async def test_a_fragmented_message_is_one_message(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send(["frag", "ment", "ed"])
        assert await chat.recv() == "fragmented"


async def test_ping_is_answered(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        assert await (await chat.ping()) < 30


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "bye"), (4001, "own")])
async def test_close_code_is_echoed(
    websocket_client: WebsocketClient, code: int, reason: str
) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("last")
        await chat.close(code, reason)
        assert chat.close_code == code
        assert chat.close_reason == reason
        assert await chat.recv() == "last"


@pytest.mark.covers("WebsocketOptions.max-remote-payload")
async def test_too_large_a_message_ends_with_1009(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("x" * 100_000)
        assert await chat.recv() == "x" * 100_000
        await chat.send("x" * 100_001)
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG


async def test_order_is_kept_with_many_in_flight(websocket_client: WebsocketClient) -> None:
    count = 2_000
    async with websocket_client.get("chat", max_queue=None) as chat:

        async def send_all() -> None:
            for number in range(count):
                await chat.send(str(number))

        sender = asyncio.create_task(send_all())
        assert [await chat.recv() for _ in range(count)] == [str(n) for n in range(count)]
        await sender

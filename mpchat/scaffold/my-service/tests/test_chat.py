"""The handler by itself, in milliseconds."""

from __future__ import annotations

import pytest
from mpchat.testing import connect, serve
from websockets.exceptions import ConnectionClosed

from chat import Chat


async def test_every_text_is_answered() -> None:
    async with connect(Chat) as chat:
        for text in ("hello", "", "Grüße"):
            await chat.send(text)
            assert await chat.recv() == f"you said: {text}"


async def test_bytes_end_the_connection() -> None:
    async with connect(Chat) as chat:
        await chat.send(b"hello")
        with pytest.raises(ConnectionClosed):
            await chat.recv()
    assert chat.close_code == 1003


async def test_the_prefix_may_change_meanwhile() -> None:
    async with serve({Chat: {"path": "/chat"}}) as worker:
        async with worker.websocket_client.get("/chat") as chat:
            worker.dynamic_config.set(CHAT_PREFIX="> ")
            await chat.send("hello")
            assert await chat.recv() == "> hello"

"""Pings that a handler sends, and which of them count as unanswered."""

from __future__ import annotations

import asyncio
import socket

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.protocol import WebSocketProtocol
from tests.kit.frames import BINARY, FINAL, PONG, frame
from tests.unit.websocket.rig import Worker, on_uvloop, until

MESSAGE = frame(FINAL | BINARY, b"m")
ANSWER = frame(FINAL | PONG, b"p")


async def arrive(client: socket.socket, protocol: WebSocketProtocol, data: bytes) -> None:
    """Have one read of the server bring all of it, pongs included."""
    loop, parser = asyncio.get_running_loop(), protocol.parser

    def pongs() -> int:
        # One that answers a ping of ours is no overhead.
        return parser.overhead - parser.pongs_due

    expected = pongs() + data.count(ANSWER)
    messages = parser.received + data.count(MESSAGE)
    await loop.sock_sendall(client, data)
    await until(lambda: pongs() == expected)
    assert protocol.parser.received == messages
    assert protocol.close_code is None


async def start(worker: Worker) -> tuple[socket.socket, WebSocketProtocol, WebSocketConnection]:
    chats: list[WebSocketConnection] = []

    async def idle(chat: WebSocketConnection) -> None:
        chats.append(chat)
        await asyncio.Event().wait()

    client, protocol = await worker.connect(idle)
    await until(lambda: chats)
    (chat,) = chats
    assert chat.unanswered_pings == 0
    for _ in range(3):
        await chat.ping()
    assert chat.unanswered_pings == 3
    return client, protocol, chat


@on_uvloop
async def test_a_pong_counts_when_the_handler_has_received(worker: Worker) -> None:
    client, protocol, chat = await start(worker)
    await arrive(client, protocol, ANSWER)
    await chat.ping()
    assert chat.unanswered_pings == 4
    assert chat.try_recv() is None
    assert chat.unanswered_pings == 0
    assert chat.try_recv() is None
    await chat.ping()
    assert chat.unanswered_pings == 1


@on_uvloop
async def test_a_pong_comes_behind_the_messages_before_it(worker: Worker) -> None:
    client, protocol, chat = await start(worker)
    await arrive(client, protocol, MESSAGE + ANSWER + MESSAGE)
    assert await chat.recv() == b"m"
    assert chat.unanswered_pings == 3
    assert await chat.recv() == b"m"
    # This one went out after the handler had met the pong, whenever the count is looked at.
    await chat.ping()
    assert chat.unanswered_pings == 1


@on_uvloop
async def test_a_handler_that_waits_meets_a_pong_at_once(worker: Worker) -> None:
    client, protocol, chat = await start(worker)
    waiting = asyncio.create_task(chat.recv())
    await until(lambda: protocol.incoming.callback is not None)
    await arrive(client, protocol, ANSWER)
    assert chat.unanswered_pings == 0
    await chat.ping()
    await arrive(client, protocol, ANSWER + MESSAGE)
    assert await waiting == b"m"
    assert chat.unanswered_pings == 0
    waiting = asyncio.create_task(chat.recv())
    await chat.ping()
    await arrive(client, protocol, MESSAGE + ANSWER)
    assert await waiting == b"m"
    assert chat.unanswered_pings == 1

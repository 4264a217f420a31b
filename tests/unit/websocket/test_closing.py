"""When we end a connection, a client that is still sending reads our Close and is not reset."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mpchat.websocket import protocol as protocol_module
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.frames import close_frame
from mpchat.websocket.phases import Action, Phase
from mpchat.websocket.protocol import WebSocketProtocol
from tests.kit.frames import BINARY, CLOSE, FINAL, PONG, frame
from tests.unit.websocket.rig import Worker, echo, on_uvloop, until

WRONG = frame(FINAL | BINARY | 0x40, b"a reserved bit")
DATA = frame(FINAL | BINARY, bytes(1000)) * 100
TOLD = close_frame(1002, "reserved bits must be 0")


async def send_on(client: socket.socket) -> None:
    """Send more than goes into one read, in several turns."""
    loop = asyncio.get_running_loop()
    for _ in range(50):
        await loop.sock_sendall(client, DATA)
        await asyncio.sleep(0)


@on_uvloop
async def test_a_client_that_is_still_sending_is_not_reset(worker: Worker) -> None:
    loop = worker.loop
    client, protocol = await worker.connect(echo)
    await loop.sock_sendall(client, WRONG)
    await send_on(client)
    assert await loop.sock_recv(client, 1000) == TOLD
    # Half-closed: the end of ours, while its own frames are still read.
    assert await loop.sock_recv(client, 1000) == b""
    await send_on(client)
    await loop.sock_sendall(client, frame(FINAL | PONG, b"") + frame(FINAL | CLOSE, b""))
    assert protocol.phase is not Phase.LOST
    client.shutdown(socket.SHUT_WR)
    await until(lambda: protocol.phase is Phase.LOST)


@on_uvloop
async def test_closing_at_once_would_reset_it(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_at_once(protocol: WebSocketProtocol) -> None:
        protocol.transport.close()

    monkeypatch.setitem(protocol_module._DEEDS, Action.HALF_CLOSE, close_at_once)
    client, _protocol = await worker.connect(echo)
    await worker.loop.sock_sendall(client, WRONG)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await send_on(client)


@on_uvloop
async def test_a_handler_answers_while_its_connection_drains(worker: Worker) -> None:
    asked, drained = asyncio.Event(), asyncio.Event()

    async def answer_late(chat: WebSocketConnection) -> None:
        async for _message in chat:
            asked.set()
            await drained.wait()
            await chat.send(b"an answer")

    client, protocol = await worker.connect(answer_late)
    await worker.loop.sock_sendall(client, frame(FINAL | BINARY, b"a question"))
    await asked.wait()
    protocol.drain(1012)
    assert protocol.phase is Phase.DRAINING
    drained.set()
    answer = b"\x82\x09an answer" + close_frame(1012)
    assert await worker.loop.sock_recv(client, 1000) == answer

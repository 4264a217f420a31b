"""No client takes the loop from the others: one that floods, beside a hundred that are honest.

Turns of the loop are counted, not seconds: how much of the flood is read and taken in one turn, and in
how many turns an honest client has its answer. One count is taken without the budgets, too, which is then
far beyond what they allow.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from mpchat.websocket import connection as connection_module
from mpchat.websocket import protocol as protocol_module
from mpchat.websocket.bulk import SCRATCH_BYTES
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.protocol import WebSocketProtocol
from tests.unit.websocket.rig import Turns, Worker, echo, on_uvloop, until
from tests.unit.websocket.streams import BINARY, FINAL, frame

HONEST = 100
ROUNDS = 10
TAKEN_IN_A_TURN = 128
READ_IN_A_TURN = 65_536 + 2 * 1024 + SCRATCH_BYTES
"""The rest of a frame, and what is read at once behind it"""
ANSWER_TURNS = 4
"""To be read and answered, to be read by the client, and as many again"""

QUESTION = frame(FINAL | BINARY, bytes(32))
ANSWER = b"\x82\x20" + bytes(32)


class Flood:
    """One client that sends as much as its socket takes, in every turn; its handler takes all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, turns: Turns) -> None:
        self._turns = turns
        self.taken: Counter[int] = Counter()
        self.read: Counter[int] = Counter()
        self._protocol: WebSocketProtocol | None = None
        data_received = WebSocketProtocol.data_received

        def spy(protocol: WebSocketProtocol, data: bytes) -> None:
            if protocol is self._protocol:
                self.read[self._turns.number] += len(data)
            data_received(protocol, data)

        monkeypatch.setattr(WebSocketProtocol, "data_received", spy)

    async def take(self, chat: WebSocketConnection) -> None:
        async for _message in chat:
            self.taken[self._turns.number] += 1

    @asynccontextmanager
    async def going_on(self, worker: Worker, size: int) -> AsyncIterator[None]:
        client, self._protocol = await worker.connect(self.take)
        data = frame(FINAL | BINARY, bytes(size)) * (300_000 // (size + 6))
        sending = asyncio.create_task(self._send(client, data))
        yield
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending

    async def _send(self, client: socket.socket, data: bytes) -> None:
        sent = 0
        while True:
            with suppress(BlockingIOError):
                while True:
                    sent = (sent + client.send(data[sent:])) % len(data)
            await asyncio.sleep(0)


async def ask(client: socket.socket, turns: Turns) -> int:
    """Return in how many turns an honest client has its answer, at the most."""
    loop, most = asyncio.get_running_loop(), 0
    for _ in range(ROUNDS):
        begun = turns.number
        await loop.sock_sendall(client, QUESTION)
        assert await loop.sock_recv(client, 100) == ANSWER
        most = max(most, turns.number - begun)
    return most


@pytest.mark.parametrize("size", [0, 65_536])
@on_uvloop
async def test_one_that_floods_leaves_every_turn_to_the_others(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    clients = [(await worker.connect(echo))[0] for _ in range(HONEST)]
    with Turns() as turns:
        flood = Flood(monkeypatch, turns)
        async with flood.going_on(worker, size):
            most = await asyncio.gather(*(ask(client, turns) for client in clients))
    assert max(most) <= ANSWER_TURNS
    assert max(flood.taken.values()) <= TAKEN_IN_A_TURN
    assert max(flood.read.values()) <= READ_IN_A_TURN
    # It went on all the while.
    assert len(flood.taken) >= ROUNDS


@pytest.mark.parametrize("budgets", [True, False])
@on_uvloop
async def test_what_a_handler_takes_in_one_turn(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, budgets: bool
) -> None:
    if not budgets:
        for name in ("MOST_FRAMES", "_LARGE_READ", "_MOST_BEHIND"):
            monkeypatch.setattr(protocol_module, name, 1 << 30)
        worker.turn.most_frames = 1 << 30
        worker.turn.left = 1 << 60
        monkeypatch.setattr(connection_module, "_TAKEN_BEFORE_YIELD", 1 << 30)
    count = 10_000
    with Turns() as turns:
        flood = Flood(monkeypatch, turns)
        client, _protocol = await worker.connect(flood.take)
        await worker.loop.sock_sendall(client, frame(FINAL | BINARY, b"") * count)
        await until(lambda: flood.taken.total() == count)
    most = max(flood.taken.values())
    assert most <= TAKEN_IN_A_TURN if budgets else most > 10 * TAKEN_IN_A_TURN

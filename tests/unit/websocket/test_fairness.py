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
from dataclasses import replace

import pytest

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import BINARY, FINAL, frame
from tests.unit.websocket.rig import Growth, Turns, Worker, echo, on_uvloop, until

HONEST = 100
ROUNDS = 10
THRESHOLDS = Thresholds()
TAKEN_IN_A_TURN = THRESHOLDS.max_frames
READ_IN_A_TURN = 65_536 + THRESHOLDS.bulk_read
"""The rest of a frame, and what is read at once behind it"""
ANSWER_TURNS = 4
"""To be read and answered, to be read by the client, and as many again"""

QUESTION = frame(FINAL | BINARY, bytes(32))
ANSWER = b"\x82\x20" + bytes(32)


class Flood:
    """One client that sends as much as its socket takes, in every turn; its handler takes all."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.taken: Counter[int] = Counter()
        self.read: Growth

    async def take(self, chat: WebSocketConnection) -> None:
        async for _message in chat:
            self.taken[self._turns.number] += 1

    @asynccontextmanager
    async def going_on(self, worker: Worker, size: int) -> AsyncIterator[None]:
        client, protocol = await worker.connect(self.take)
        self.read = self._turns.watch(lambda: protocol.parser.received_bytes)
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
async def test_one_that_floods_leaves_every_turn_to_the_others(worker: Worker, size: int) -> None:
    clients = [(await worker.connect(echo))[0] for _ in range(HONEST)]
    with Turns() as turns:
        flood = Flood(turns)
        async with flood.going_on(worker, size):
            most = await asyncio.gather(*(ask(client, turns) for client in clients))
    assert max(most) <= ANSWER_TURNS
    assert max(flood.taken.values()) <= TAKEN_IN_A_TURN
    if size:
        assert flood.read.most <= READ_IN_A_TURN
    # It went on all the while.
    assert len(flood.taken) >= ROUNDS


@pytest.mark.parametrize("budgets", [True, False])
@on_uvloop
async def test_what_a_handler_takes_in_one_turn(worker: Worker, budgets: bool) -> None:
    if not budgets:
        any_number = dict.fromkeys(
            ("turn_work", "max_frames", "large_read", "max_behind", "max_taken"), 1 << 60
        )
        worker.go_by(replace(THRESHOLDS, **any_number))
    count = 10_000
    with Turns() as turns:
        flood = Flood(turns)
        client, _protocol = await worker.connect(flood.take)
        await worker.loop.sock_sendall(client, frame(FINAL | BINARY, b"") * count)
        await until(lambda: flood.taken.total() == count)
    most = max(flood.taken.values())
    assert most <= TAKEN_IN_A_TURN if budgets else most > 10 * TAKEN_IN_A_TURN

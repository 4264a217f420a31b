"""How long handlers take to answer: which messages are timed, and from when to when."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.histograms import HANDLING, SIZE, WIDTH, Histograms, places
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import FINAL, TEXT, frame
from tests.unit.websocket.rig import Handle, Kept, Worker, echo, in_callback, on_uvloop, until

ONE = frame(FINAL | TEXT, b"hello")
STARTS = {one.name: start for one, start in places()}


class Timed:
    """A worker whose clock stands still but where a test moves it."""

    def __init__(self, worker: Worker, every: int = 1) -> None:
        self.now = 100.0
        self._items = memoryview(bytearray(8 * WIDTH)).cast("Q")
        self._worker = worker
        worker.counters = Counters(histograms=Histograms(self._items))
        worker.go_by(Thresholds(timed_every=every))
        worker.shared = replace(worker.shared, clock=lambda: self.now)
        self.turn = worker.turn

    async def serve(self, handle: Handle) -> WebSocketProtocol:
        """Begin a connection whose handler waits for its first message."""
        protocol = self._worker.serve(Kept(), handle)
        await until(lambda: protocol.incoming.callback is not None)
        return protocol

    @property
    def times(self) -> tuple[int, int]:
        """How many answers were timed, and the milliseconds of all of them."""
        start = STARTS[HANDLING.name]
        *counts, total = self._items[start : start + len(HANDLING.bounds) + 2]
        return sum(counts), round(total / 1000)

    @property
    def sizes(self) -> list[int]:
        """How many messages there were of each size, and all of their bytes."""
        start = STARTS[SIZE.name]
        return self._items[start : start + len(SIZE.bounds) + 2].tolist()


async def read(protocol: WebSocketProtocol, data: bytes) -> None:
    await in_callback(lambda: protocol.data_received(data))


@pytest.mark.parametrize(("reads", "at_once"), [(64, 1), (16, 4), (4, 16), (2, 32)])
@on_uvloop
async def test_one_message_in_sixteen_is_timed(worker: Worker, reads: int, at_once: int) -> None:
    timed = Timed(worker, every=16)
    protocol = await timed.serve(echo)
    for _ in range(reads):
        await read(protocol, ONE * at_once)
        await until(lambda: protocol.incoming.callback is not None)
    assert timed.times[0] == min(reads, 4)


@on_uvloop
async def test_an_answer_lasts_until_the_handler_asks_for_the_next(worker: Worker) -> None:
    timed = Timed(worker)

    async def slow(chat: WebSocketConnection) -> None:
        async for message in chat:
            timed.now += 0.003
            await chat.send(message)
            timed.now += 0.002

    protocol = await timed.serve(slow)
    await read(protocol, ONE)
    assert timed.times == (1, 5)


@on_uvloop
async def test_also_while_it_waits_for_something_else(worker: Worker) -> None:
    timed = Timed(worker)
    going_on = asyncio.Event()

    async def waiting(chat: WebSocketConnection) -> None:
        async for _message in chat:
            await going_on.wait()

    protocol = await timed.serve(waiting)
    await read(protocol, ONE)
    timed.now += 0.25
    assert timed.times == (0, 0)
    going_on.set()
    await until(lambda: protocol.incoming.callback is not None)
    assert timed.times == (1, 250)


@on_uvloop
async def test_or_until_it_ends(worker: Worker) -> None:
    timed = Timed(worker)

    async def once(chat: WebSocketConnection) -> None:
        await chat.recv()
        timed.now += 0.004

    protocol = await timed.serve(once)
    await read(protocol, ONE)
    await until(lambda: protocol.is_handled)
    assert timed.times == (1, 4)


@on_uvloop
async def test_what_it_never_took_is_not_timed(worker: Worker) -> None:
    timed = Timed(worker)

    async def once(chat: WebSocketConnection) -> None:
        await chat.recv()

    protocol = await timed.serve(once)
    await read(protocol, ONE + ONE)
    await until(lambda: protocol.is_handled)
    assert timed.times == (0, 0)


@on_uvloop
async def test_of_several_in_a_read_the_last_is_timed_behind_the_others(worker: Worker) -> None:
    timed = Timed(worker)

    async def slow(chat: WebSocketConnection) -> None:
        async for _message in chat:
            timed.now += 0.01

    protocol = await timed.serve(slow)
    await read(protocol, ONE * 3)
    assert timed.times == (1, 30)


@on_uvloop
async def test_one_that_comes_while_the_handler_is_busy_waits_for_it(worker: Worker) -> None:
    timed = Timed(worker)
    going_on = asyncio.Event()

    async def waiting(chat: WebSocketConnection) -> None:
        await chat.recv()
        timed.turn.untimed = 0
        await going_on.wait()
        timed.now += 0.02
        await chat.recv()
        timed.now += 0.01
        await chat.recv()

    protocol = await timed.serve(waiting)
    timed.turn.untimed = 2
    await read(protocol, ONE)
    await read(protocol, ONE)
    going_on.set()
    await until(lambda: protocol.incoming.callback is not None)
    assert timed.times == (1, 30)


@on_uvloop
async def test_the_time_begins_with_the_read_also_if_it_lines_up(worker: Worker) -> None:
    timed = Timed(worker)
    protocol = await timed.serve(echo)

    def too_late() -> None:
        timed.turn.left = 0
        protocol.data_received(ONE)
        timed.now += 0.04

    await in_callback(too_late)
    await until(lambda: timed.times[0])
    assert timed.times == (1, 40)
    await read(protocol, ONE)
    assert timed.times == (2, 40)


@on_uvloop
async def test_every_message_has_its_size(worker: Worker) -> None:
    timed = Timed(worker)
    protocol = await timed.serve(echo)
    for size in (0, 16, 17, 64, 5_000):
        await read(protocol, frame(FINAL | TEXT, b"x" * size))
    await read(protocol, frame(TEXT, b"x" * 40) + frame(FINAL, b"x" * 40))
    await until(lambda: protocol.incoming.callback is not None)
    assert timed.sizes[:4] == [2, 2, 1, 0]
    assert sum(timed.sizes[:-1]) == 6
    assert timed.sizes[-1] == 16 + 17 + 64 + 5_000 + 80

"""What is held for a client that does not read, and for a handler that does not come back, is bounded.

Held is what Python has allocated since the connection began (tracemalloc): messages that wait, bytes not
parsed yet and bytes not sent yet. Without the measure that keeps a bound, more is held.
"""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import BINARY, FINAL, PING, frame
from tests.unit.websocket.rig import Worker, echo, on_uvloop, until

KIB = 1024
MIB = 1024 * KIB
WRITE_LIMIT = 64 * KIB
NEVER_READ_LIMIT = WRITE_LIMIT + 256 * KIB


async def never_come_back(_chat: WebSocketConnection) -> None:
    await asyncio.sleep(3600)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def flooded(client: socket.socket, one: bytes, enough: int) -> int:
    """Send until nothing is taken any more, or enough is held; return the bytes held."""
    data = one * max(1, 256 * KIB // len(one))
    before, _peak = tracemalloc.get_traced_memory()
    held = sent = refused = 0
    while held < enough and refused < 200:
        try:
            sent = (sent + client.send(data[sent:])) % len(data)
            refused = 0
        except BlockingIOError:
            refused += 1
        await asyncio.sleep(0)
        held = tracemalloc.get_traced_memory()[0] - before
    return held


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "one",
    [
        pytest.param(frame(FINAL | BINARY, bytes(64 * KIB)), id="64 KiB"),
        pytest.param(frame(FINAL | BINARY, bytes(100)), id="100 B"),
        pytest.param(frame(FINAL | PING, bytes(125)), id="pings"),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
@on_uvloop
async def test_a_client_that_never_reads(worker: Worker, one: bytes, waits: bool) -> None:
    limit = WRITE_LIMIT if waits else 64 * MIB
    options = {"write-limit": limit, "max-control-frames-per-second": None}
    client, protocol = await worker.connect(echo, **options)
    ours = protocol.transport.get_extra_info("socket")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
    held = await flooded(client, one, 2 * NEVER_READ_LIMIT)
    assert (held <= NEVER_READ_LIMIT) == waits
    if waits:
        # It reads, and the handler goes on.
        assert protocol.outgoing.paused
        while protocol.outgoing.paused:
            with suppress(BlockingIOError):
                client.recv(MIB)
            await asyncio.sleep(0)


@on_uvloop
async def test_a_send_that_times_out_queues_nothing(worker: Worker) -> None:
    message, missed = bytes(60_000), 0

    async def tick(chat: WebSocketConnection) -> None:
        nonlocal missed
        while True:
            try:
                async with asyncio.timeout(0):
                    await chat.send(message)
            except TimeoutError:
                missed += 1
                await asyncio.sleep(0)

    client, protocol = await worker.connect(tick, **{"write-limit": WRITE_LIMIT})
    await until(lambda: missed > 100)
    # Up to the limit a message is taken, and that one may be beyond it.
    assert protocol.outgoing.backlog <= WRITE_LIMIT + len(message) + 100
    sent = protocol.outgoing.sent
    with suppress(BlockingIOError):
        while True:
            client.recv(MIB)
    await until(lambda: protocol.outgoing.sent > sent)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("size", [100, 64 * KIB, MIB])
@pytest.mark.parametrize("pauses", [True, False])
@on_uvloop
async def test_a_handler_that_does_not_come_back(worker: Worker, size: int, pauses: bool) -> None:
    # One whole message, what was read with it, and what may be read behind it.
    thresholds = Thresholds()
    limit = size + thresholds.bulk_read + thresholds.max_behind
    if not pauses:
        any_number = dict.fromkeys(("turn_work", "max_frames", "large_read", "max_behind"), 1 << 60)
        worker.go_by(replace(thresholds, bulk_read=8 * MIB, **any_number))
    client, _protocol = await worker.connect(never_come_back, **{"max-remote-payload": MIB})
    held = await flooded(client, frame(FINAL | BINARY, bytes(size)), 2 * limit)
    assert (held <= limit) == pauses


@on_uvloop
async def test_no_ping_timeout_runs_while_we_do_not_read(worker: Worker) -> None:
    released = asyncio.Event()
    taken: list[str | bytes] = []

    async def come_back_late(chat: WebSocketConnection) -> None:
        await released.wait()
        async for message in chat:
            taken.append(message)

    options = {"ping-interval": "100ms", "ping-timeout": "100ms"}
    client, protocol = await worker.connect(come_back_late, **options)
    client.send(frame(FINAL | BINARY, b"") * 1000)
    await until(lambda: not protocol.is_reading)
    timers: set[int] = set()

    def are_enough() -> bool:
        timers.add(protocol.wheel_tick)
        return len(timers) >= 6

    # One for the ping; each further one finds no answer that it could have read.
    await until(are_enough)
    assert protocol.close_sent is None
    released.set()
    client.send(frame(FINAL | BINARY, b"last"))
    await until(lambda: b"last" in taken)
    assert protocol.close_sent is None

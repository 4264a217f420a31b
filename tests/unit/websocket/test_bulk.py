"""Large frames are read where they belong, whatever else comes with them, and cost what has arrived."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.budget import Budget
from mpchat.websocket.bulk import BulkReader
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.parser import Parser
from mpchat.websocket.phases import Phase
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import BINARY, CLOSE, FINAL, PING, PONG, TEXT, frame
from tests.unit.websocket.rig import Worker, echo, on_uvloop, until
from tests.unit.websocket.streams import frames

KIB = 1024
SIZES = (0, 5, 125, 4000, 16 * KIB, 64 * KIB, 130_000, 256 * KIB, 1000 * KIB)
CODE = (1000).to_bytes(2, "big")


async def converse(client: socket.socket, data: bytes, random: Random) -> bytes:
    """Send in pieces of all sizes while reading; return all that came back, up to its end."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        sent = 0
        while sent < len(data):
            size = random.choice((1, 10, 1000, 20_000, 300_000))
            await loop.sock_sendall(client, data[sent : sent + size])
            sent += size
            if random.random() < 0.3:
                await asyncio.sleep(0)

    sending = loop.create_task(send())
    received = bytearray()
    while piece := await loop.sock_recv(client, 1 << 20):
        received += piece
    await sending
    return bytes(received)


@on_uvloop
async def test_a_client_that_sends_frames_of_all_sizes(worker: Worker) -> None:
    random = Random(1)
    for _ in range(20):
        sizes = random.choices(SIZES, k=30)
        parts = [random.randbytes(size) for size in sizes]
        kinds = [random.choice((BINARY, PING)) if size <= 125 else BINARY for size in sizes]
        data = b"".join(frame(FINAL | kind, part) for kind, part in zip(kinds, parts, strict=True))
        options = {"max-remote-payload": 1 << 20, "fragment-size": 0}
        client, protocol = await worker.connect(echo, **options)
        output = await converse(client, data + frame(FINAL | CLOSE, CODE), random)
        assert isinstance(protocol.transport.get_protocol(), BulkReader)
        answers = [
            (header.first, output[header.stop - header.length : header.stop])
            for header in frames(output)
        ]
        answer = {BINARY: BINARY, PING: PONG}
        expected = [(FINAL | answer[kind], part) for kind, part in zip(kinds, parts, strict=True)]
        # A pong may overtake what was in the handler's hands.
        assert sorted(answers[:-1]) == sorted(expected)
        for kind in (BINARY, PONG):
            assert [a for a in answers if a[0] == FINAL | kind] == [
                e for e in expected if e[0] == FINAL | kind
            ]
        assert answers[-1] == (FINAL | CLOSE, CODE)


@on_uvloop
async def test_an_announcement_does_not_cost_what_it_announces(worker: Worker) -> None:
    whole = frame(FINAL | BINARY, bytes(1000 * KIB))
    client, protocol = await worker.connect(echo, **{"max-remote-payload": 1 << 20})
    loop = asyncio.get_running_loop()
    # From here on it is read in bulk.
    await loop.sock_sendall(client, whole)
    await until(lambda: protocol.parser.received == 1)
    received = 0
    while received < 1000 * KIB:
        received += len(await loop.sock_recv(client, 1 << 20))
    tracemalloc.start()
    try:
        await loop.sock_sendall(client, whole[: 10 * KIB])
        await until(lambda: protocol.parser.is_within_message)
        held, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 64 * KIB


def test_a_frame_that_begins_in_small_reads_gets_its_buffer_later() -> None:
    data = frame(FINAL | BINARY, bytes(1 << 20))
    thresholds = Thresholds()
    parser = Parser(1 << 20, Counters().traffic_of("test"), Budget(thresholds))
    parser.has_buffers = True
    messages: list[str | bytes] = []
    step = len(data) // thresholds.buffered_part // 3
    arrived = 0
    while parser.rest is None:
        assert arrived < len(data) // thresholds.buffered_part
        parser.feed(data[arrived : arrived + step], messages, 1)
        arrived += step
    assert len(parser.rest) == len(data) - arrived
    parser.rest[:] = data[arrived:]
    parser.feed(parser.add_rest(len(data) - arrived), messages, 1)
    assert messages == [bytes(1 << 20)]


@pytest.mark.parametrize(
    ("largest", "unread"), [(64 * KIB, None), (400 * KIB, 400 * KIB), (16 * 1024 * KIB, 1024 * KIB)]
)
@on_uvloop
async def test_a_large_message_fits_into_the_kernel(
    worker: Worker, largest: int, unread: int | None
) -> None:
    client, protocol = await worker.connect(echo, **{"max-remote-payload": largest})
    ours = protocol.transport.get_extra_info("socket")
    before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    await asyncio.get_running_loop().sock_sendall(client, frame(FINAL | BINARY, bytes(20 * KIB)))
    await until(lambda: isinstance(protocol.transport.get_protocol(), BulkReader))
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    # The kernel doubles what is asked for (socket(7)).
    expected = before if unread is None else 2 * min(unread, most)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == expected


@on_uvloop
async def test_bad_text_in_a_large_frame_is_refused_at_its_beginning(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    client, protocol = await worker.connect(echo)
    await loop.sock_sendall(client, frame(FINAL | TEXT, b"a" * 60_000))
    await until(lambda: protocol.parser.received == 1)
    whole = frame(FINAL | TEXT, b"a" * 100 + b"\xff" + b"a" * 60_000)
    await loop.sock_sendall(client, whole[:10_000])
    await until(lambda: protocol.parser.is_over)
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1007


@on_uvloop
async def test_what_a_handler_closes_meanwhile_ends_in_order(worker: Worker) -> None:
    async def say_goodbye(chat: WebSocketConnection) -> None:
        await chat.recv()
        await chat.close(1000)

    random = Random(2)
    client, protocol = await worker.connect(say_goodbye, **{"max-remote-payload": 1 << 20})
    many = frame(FINAL | BINARY, bytes(1000 * KIB)) * 5
    output = await converse(client, many + frame(FINAL | CLOSE, CODE), random)
    assert [(h.first, output[h.stop - h.length : h.stop]) for h in frames(output)] == [
        (FINAL | CLOSE, CODE)
    ]
    await until(lambda: protocol.phase is Phase.LOST)

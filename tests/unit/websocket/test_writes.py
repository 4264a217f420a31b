"""When and in which order bytes leave: in the callback, at the turn's end, behind what was gathered."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.protocol import WebSocketProtocol
from tests.kit.frames import CLOSE, FINAL, PING, TEXT, frame
from tests.unit.websocket.rig import Kept, Worker, echo, in_callback, on_uvloop

A, B, C = (frame(FINAL | TEXT, letter) for letter in (b"a", b"b", b"c"))
KIB = 1024
MIB = 1024 * KIB
SENT_A, SENT_B, SENT_C = b"\x81\x01a", b"\x81\x01b", b"\x81\x01c"


async def answer_one_and_sleep(chat: WebSocketConnection) -> None:
    await chat.send(await chat.recv())
    await asyncio.sleep(3600)


async def turn() -> None:
    """Let what was scheduled run, and what that schedules."""
    for _ in range(3):
        await asyncio.sleep(0)


async def receive(protocol: WebSocketProtocol, *reads: bytes) -> list[bytes]:
    """Have these read in one callback; return what was written by its end."""

    def run() -> list[bytes]:
        for data in reads:
            protocol.data_received(data)
        transport = protocol.transport
        assert isinstance(transport, Kept)
        return list(transport.writes)

    return await in_callback(run)


@on_uvloop
async def test_a_reply_with_no_input_queued_is_written_in_the_callback_that_read_it(
    worker: Worker,
) -> None:
    protocol = worker.serve(Kept(), echo)
    await turn()
    assert await receive(protocol, A) == [SENT_A]
    assert await receive(protocol, B) == [SENT_A, SENT_B]


@on_uvloop
async def test_replies_with_input_queued_are_one_write(worker: Worker) -> None:
    transport = Kept()
    protocol = worker.serve(transport, echo)
    await turn()
    await receive(protocol, A + B + C)
    await turn()
    assert transport.writes == [SENT_A + SENT_B + SENT_C]


@on_uvloop
async def test_a_gathered_reply_leaves_at_the_turns_end_while_its_handler_sleeps(
    worker: Worker,
) -> None:
    transport = Kept()
    protocol = worker.serve(transport, answer_one_and_sleep)
    await turn()
    assert await receive(protocol, A + B + C) == []
    await turn()
    assert transport.writes == [SENT_A]


@on_uvloop
async def test_one_callback_of_the_loop_writes_for_all_connections(worker: Worker) -> None:
    transports = [Kept() for _ in range(10)]
    protocols = [worker.serve(transport, answer_one_and_sleep) for transport in transports]
    await turn()
    counts: list[int] = []

    def count() -> None:
        counts.append(sum(len(transport.writes) for transport in transports))

    def read_all() -> None:
        for protocol in protocols:
            # The first of them schedules the flush: what is scheduled then comes after it.
            protocol.data_received(A + B)
            worker.loop.call_soon(count)

    worker.loop.call_soon(count)
    await in_callback(read_all)
    await turn()
    assert counts == [0] + [10] * 10


@on_uvloop
async def test_pong_and_close_go_behind_what_was_gathered(worker: Worker) -> None:
    transport = Kept()
    protocol = worker.serve(transport, answer_one_and_sleep)
    await turn()
    assert await receive(protocol, A + B, frame(FINAL | PING, b"?")) == []
    await turn()
    assert transport.writes == [SENT_A + b"\x8a\x01?"]

    transport = Kept()
    protocol = worker.serve(transport, echo)
    await turn()
    await receive(protocol, A + B + frame(FINAL | CLOSE, b"\x03\xe8") + C)
    await turn()
    assert b"".join(transport.writes) == SENT_A + SENT_B + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize(
    ("fragment_size", "unsent"),
    [(64 * KIB, None), (512 * KIB, 512 * KIB), (8 * MIB, MIB), (0, MIB)],
)
@on_uvloop
async def test_the_kernel_takes_a_large_fragment_whole(
    worker: Worker, fragment_size: int, unsent: int | None
) -> None:
    _client, protocol = await worker.connect(echo, **{"fragment-size": fragment_size})
    with socket.socket() as untouched:
        expected = unsent or untouched.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    ours = protocol.transport.get_extra_info("socket")
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == expected


@on_uvloop
async def test_large_fragments_leave_on_a_unix_socket(worker: Worker) -> None:
    client, ours = socket.socketpair()
    with client:
        transport, _protocol = await worker.loop.connect_accepted_socket(asyncio.Protocol, ours)
        worker.serve(transport, echo, **{"fragment-size": MIB})
        client.setblocking(False)
        await worker.loop.sock_sendall(client, A)
        assert await worker.loop.sock_recv(client, 100) == SENT_A

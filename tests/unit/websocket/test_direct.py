"""Writes past the transport: what the system does not take, and who may have the descriptor."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.direct import write
from mpchat.websocket.frames import BINARY
from mpchat.websocket.outgoing import Outgoing, make_outgoing
from mpchat.websocket.phases import LOST
from mpchat.websocket.thresholds import Thresholds
from tests.unit.websocket.rig import Worker, echo, on_uvloop, until

SMALL = b"\x82\x01x"


class Outlet:
    """Keeps what it gets, as a transport whose client does not read."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unsent = 0

    def write(self, data: bytes, /) -> None:
        self.writes.append(data)
        self.unsent += len(data)

    def writelines(self, parts: Sequence[bytes], /) -> None:
        for part in parts:
            self.write(part)

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours and the client's, neither of which blocks."""
    ours, client = socket.socketpair()
    with ours, client:
        ours.setblocking(False)
        client.setblocking(False)
        yield ours, client


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


def made(outlet: Outlet, descriptor: int) -> Outgoing:
    return make_outgoing(outlet, descriptor, Counters().traffic_of("test"), Thresholds(), 0, None)


def send(outgoing: Outgoing, payload: bytes = b"x") -> None:
    outgoing.send_message(BINARY, payload, True)


def read_all(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def test_the_system_gets_it_while_the_outlet_has_nothing(
    ends: tuple[socket.socket, socket.socket], outlet: Outlet
) -> None:
    outgoing = made(outlet, ends[0].fileno())
    send(outgoing)
    assert (ends[1].recv(100), outlet.writes) == (SMALL, [])


def test_what_is_behind_what_the_outlet_has_goes_there(
    ends: tuple[socket.socket, socket.socket], outlet: Outlet
) -> None:
    outlet.unsent = 1
    outgoing = made(outlet, ends[0].fileno())
    send(outgoing)
    send(outgoing)
    assert outlet.writes == [SMALL, SMALL]
    outlet.unsent = 0
    send(outgoing)
    assert (read_all(ends[1]), len(outlet.writes)) == (SMALL, 2)


def test_the_outlet_gets_the_rest_of_what_was_taken_in_part(
    ends: tuple[socket.socket, socket.socket], outlet: Outlet
) -> None:
    ours, client = ends
    outgoing = made(outlet, ours.fileno())
    payload = os.urandom(1_000)
    for _ in range(2_000):
        send(outgoing, payload)
    arrived = read_all(client)
    assert 0 < len(arrived) < 2_000 * len(payload)
    assert arrived + b"".join(outlet.writes) == (b"\x82\x7e\x03\xe8" + payload) * 2_000


def test_an_error_is_left_to_the_outlet(
    ends: tuple[socket.socket, socket.socket], outlet: Outlet
) -> None:
    ours, client = ends
    client.close()
    outgoing = made(outlet, ours.fileno())
    send(outgoing)
    assert outlet.writes == [SMALL]


def test_a_descriptor_that_may_be_anothers_is_not_written_to(
    ends: tuple[socket.socket, socket.socket], outlet: Outlet
) -> None:
    outgoing = made(outlet, ends[0].fileno())
    send(outgoing)
    outgoing.forget_socket()
    send(outgoing)
    outlet.unsent = 0
    send(outgoing)
    assert (read_all(ends[1]), outlet.writes) == (SMALL, [SMALL, SMALL])


def test_write_takes_nothing_where_it_would_have_to_wait(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours = ends[0]
    while write(ours.fileno(), bytes(1 << 16)):
        pass
    assert write(ours.fileno(), b"x") == 0
    assert write(-1, b"x") == 0


@on_uvloop
async def test_nothing_reaches_the_next_owner_of_a_descriptor(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    _client, protocol = await worker.connect(echo)
    descriptor = protocol.transport.get_extra_info("socket").fileno()
    protocol.abort()
    await until(lambda: protocol.phase is LOST)
    os.dup2(ends[0].fileno(), descriptor)
    try:
        protocol.outgoing.gather(b"for somebody else")
        # uvloop's transport refuses what comes after its end.
        with contextlib.suppress(RuntimeError):
            protocol.outgoing.flush()
        assert read_all(ends[1]) == b""
    finally:
        os.close(descriptor)

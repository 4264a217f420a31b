"""When the system refuses a descriptor or memory, the queue keeps until it can be served."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket

import pytest

from mpchat.server.accepted import Accepted
from mpchat.server.accepting import Acceptor
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn


class Listening(socket.socket):
    """One whose accept fails a few times."""

    errors: list[int]

    def _accept(self) -> tuple[int, object]:
        if self.errors:
            number = self.errors.pop()
            raise OSError(number, os.strerror(number))
        descriptor, address = super()._accept()  # type: ignore[misc]
        return descriptor, address


class Flooded(socket.socket):
    """One whose queue is never empty."""

    def _accept(self) -> tuple[int, object]:
        near, far = socket.socketpair()
        far.close()
        return near.detach(), ("192.0.2.1", 1)


async def test_a_flood_cannot_keep_a_worker_from_ending() -> None:
    loop = asyncio.get_running_loop()
    served: list[Accepted] = []
    turn = Turn(loop, lambda: None, lambda: None, Thresholds())
    acceptor = Acceptor(loop, turn, lambda client, _address: served.append(client), lambda: None)
    with Flooded(socket.AF_INET) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        acceptor.add([listening])
        acceptor.finish(100)
    assert len(served) == 100
    for client in served:
        client.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_pause_and_then_everybody_is_served(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mpchat.server")
    loop = asyncio.get_running_loop()
    served: list[Accepted] = []
    pauses: list[None] = []
    everybody = asyncio.Event()

    def on_socket(client: Accepted, _address: object) -> None:
        served.append(client)
        if len(served) == 3:
            everybody.set()

    with Listening(socket.AF_INET) as listening:
        listening.errors = [number] * 2
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        turn = Turn(loop, lambda: None, lambda: None, Thresholds())
        acceptor = Acceptor(loop, turn, on_socket, lambda: pauses.append(None))
        acceptor.add([listening])
        async with asyncio.timeout(30):
            await everybody.wait()
        acceptor.finish(3)
    for client in served:
        client.close()
    for sock in clients:
        sock.close()
    assert len(pauses) == 2
    assert caplog.messages == [
        f"cannot accept: {os.strerror(number)}; trying again every 0.1 s",
        "accepting again",
    ]


async def test_a_worker_that_holds_leaves_its_clients_in_the_queue() -> None:
    loop = asyncio.get_running_loop()
    served: list[Accepted] = []
    served_during: list[int] = []
    everybody = asyncio.Event()
    turn = Turn(loop, lambda: None, lambda: None, Thresholds())

    def on_socket(client: Accepted, _address: object) -> None:
        served.append(client)
        acceptor.hold(0.01)
        # A second one changes nothing.
        acceptor.hold(60)
        loop.call_soon(lambda: served_during.append(len(served)))
        if len(served) == 3:
            everybody.set()

    acceptor = Acceptor(loop, turn, on_socket, lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        acceptor.add([listening])
        async with asyncio.timeout(30):
            await everybody.wait()
        acceptor.leave()
    for accepted in served:
        accepted.close()
    for client in clients:
        client.close()
    assert served_during[:2] == [1, 2]


async def test_what_is_added_during_a_hold_waits_for_its_end() -> None:
    loop = asyncio.get_running_loop()
    served: list[Accepted] = []
    somebody = asyncio.Event()

    def on_socket(client: Accepted, _address: object) -> None:
        served.append(client)
        somebody.set()

    turn = Turn(loop, lambda: None, lambda: None, Thresholds())
    acceptor = Acceptor(loop, turn, on_socket, lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        acceptor.hold(0.05)
        acceptor.add([listening])
        for _ in range(5):
            await asyncio.sleep(0)
        assert served == []
        async with asyncio.timeout(30):
            await somebody.wait()
        acceptor.leave()
    for accepted in served:
        accepted.close()
    client.close()

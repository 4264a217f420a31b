"""Accepted sockets become transports, and are closed exactly once, whoever closes them."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
import uvloop

from mpchat.server.accepted import Accepted
from mpchat.server.adopting import Adopting


class Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_connected = False
        self.read = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.is_connected = True

    def data_received(self, data: bytes) -> None:
        self.read += data
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def accepted_pair(family: int) -> tuple[socket.socket, Accepted]:
    if family == socket.AF_UNIX:
        client, server = socket.socketpair()
    else:
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        with socket.create_server((host, 0), family=socket.AddressFamily(family)) as listening:
            client = socket.create_connection(listening.getsockname()[:2])
            server, _address = listening.accept()
    client.setblocking(False)
    return client, Accepted.of_any_family(server.detach())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_transport_closes_the_descriptor_and_no_other_that_has_its_number(family: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, accepted = accepted_pair(family)
        assert accepted.family == family
        descriptor, protocol = accepted.fileno(), Protocol()
        adopting = Adopting(loop)
        adopting.begin(accepted, protocol, lambda: pytest.fail("it has not left"))
        assert not protocol.is_connected
        await adopting.wait()
        assert accepted.fileno() == -1
        await loop.sock_sendall(client, b"hello")
        async with asyncio.timeout(30):
            assert await loop.sock_recv(client, 5) == b"hello"
        client.close()
        async with asyncio.timeout(30):
            await protocol.lost
        assert not is_open(descriptor)
        # Another file has the number now.
        os.dup2(0, descriptor)
        accepted.close()
        protocol.transport.abort()
        await asyncio.sleep(0)
        assert is_open(descriptor)
        os.close(descriptor)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_client_that_cannot_be_adopted_is_closed_and_forgotten() -> None:
    async def main() -> None:
        client, accepted = accepted_pair(socket.AF_INET)
        descriptor = accepted.fileno()
        os.set_blocking(descriptor, False)
        gone: list[None] = []

        class Loop:
            async def connect_accepted_socket(self, *_given: object) -> None:
                raise ConnectionResetError

        loop: Any = Loop()
        adopting = Adopting(loop)
        adopting.begin(accepted, Protocol(), lambda: gone.append(None))
        await adopting.wait()
        assert gone == [None]
        assert not is_open(descriptor)
        client.close()

    asyncio.run(main())


def test_waiting_for_all_ends_with_the_last() -> None:
    async def main() -> None:
        adopting = Adopting(asyncio.get_running_loop())
        pairs = [accepted_pair(socket.AF_INET) for _ in range(3)]
        protocols = [Protocol() for _ in pairs]
        for (_client, accepted), protocol in zip(pairs, protocols, strict=True):
            adopting.begin(accepted, protocol, lambda: pytest.fail("it has not left"))
        async with asyncio.timeout(30):
            await asyncio.gather(adopting.wait(), adopting.wait())
        assert all(protocol.is_connected for protocol in protocols)
        for client, _accepted in pairs:
            client.close()
        await asyncio.gather(*(protocol.lost for protocol in protocols))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

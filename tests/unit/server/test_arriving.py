"""A client's socket until its PROXY header has come, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.arriving import LIMIT
from mpchat.server.protocol import HttpProtocol
from mpchat.server.proxy_header import MAX_V2, SIGNATURE
from mpchat.server.server import Server
from mpchat.websocket.thresholds import Thresholds
from tests.unit.server.test_protocol import HANDSHAKE, REQUEST, serve
from tests.unit.websocket.rig import Worker, on_uvloop, until

Address = tuple[str, int]

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n"
V2 = SIGNATURE + struct.pack(
    "!BBH4s4sHH", 0x21, 0x11, 12, bytes([192, 0, 2, 1]), bytes([198, 51, 100, 1]), 51234, 443
)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
HEADERS = {"v1": V1, "v2": V2}
CLIENT = ("192.0.2.1", 51234)


def listener(version: str, *trusted: str, **more: Any) -> dict[str, Any]:
    trust = list(trusted or ("127.0.0.1",))
    return {"listener": {"port": 0, "proxy-protocol": version, "trusted-proxies": trust, **more}}


def arriving(server: Server) -> int:
    return len(server.registry.arriving)


def address_of(server: Server) -> tuple[Any, ...] | None:
    """Return the client's address of the only socket that is served."""
    [waiting] = server.registry.waiting
    return cast(HttpProtocol, waiting).client.address


@contextlib.asynccontextmanager
async def connected(
    address: Address,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait until the server closes the connection; return whether it has said nothing before."""
    with contextlib.suppress(ConnectionResetError):
        return await reader.read() == b""
    return True


@pytest.mark.parametrize("version", HEADERS)
@on_uvloop
async def test_a_header_may_come_byte_by_byte_and_counts_nowhere_until_it_has(
    worker: Worker, version: str
) -> None:
    board = Scoreboard.create()
    header = HEADERS[version]
    async with (
        serve(worker, listener(version), board) as (server, address),
        connected(address) as (reader, writer),
    ):
        await until(lambda: arriving(server) == 1)
        for byte in header:
            assert arriving(server) == 1
            assert board.total("sockets", 1) == board.total("waiting", 1) == 0
            writer.write(bytes([byte]))
            # Both ends are in this loop: the byte is read before it has turned thrice.
            for _ in range(3):
                await asyncio.sleep(0)
        await until(lambda: not arriving(server))
        assert address_of(server) == CLIENT
        assert board.total("sockets", 1) == board.total("waiting", 1) == 1
        writer.write(REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert worker.limits[LIMIT] == 0


@pytest.mark.parametrize("version", HEADERS)
@on_uvloop
async def test_what_comes_behind_a_header_in_one_read_is_served(
    worker: Worker, version: str
) -> None:
    async with (
        serve(worker, listener(version)) as (server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(HEADERS[version] + REQUEST + HANDSHAKE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: bool(server.registry.connections))
        [protocol] = server.registry.connections
        assert protocol.client.address == CLIENT
        assert protocol.context.remote_address == CLIENT


@pytest.mark.parametrize(("version", "header"), [("v2", LOCAL), ("v1", b"PROXY UNKNOWN\r\n")])
@on_uvloop
async def test_a_proxy_that_speaks_for_nobody_has_its_own_address(
    worker: Worker, version: str, header: bytes
) -> None:
    async with (
        serve(worker, listener(version, "127.0.0.0/8")) as (server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(header + REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert address_of(server) == writer.get_extra_info("sockname")


@on_uvloop
async def test_a_socket_that_a_sibling_has_passed_on_still_has_its_header(worker: Worker) -> None:
    outbox, inbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    async with serve(worker, listener("v2")) as (server, _address):
        server.accept_from([inbox])
        with outbox, socket.create_server(("127.0.0.1", 0)) as listening:
            for header, expected in ((V2, CLIENT), (LOCAL, None)):
                async with connected(listening.getsockname()) as (reader, writer):
                    accepted, own = listening.accept()
                    with accepted:
                        socket.send_fds(outbox, [b"."], [accepted.fileno()])
                    writer.write(header + REQUEST)
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
                    assert address_of(server) == (expected or own)
                await until(lambda: not server.registry.waiting)


@pytest.mark.parametrize("sent", [b"", V2 + REQUEST, REQUEST], ids=["nothing", "header", "request"])
@on_uvloop
async def test_whoever_is_not_trusted_is_closed_at_once(worker: Worker, sent: bytes) -> None:
    async with (
        serve(worker, listener("v2", "192.0.2.0/24", "unix")) as (server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(sent)
        assert await is_closed(reader)
        assert worker.limits[LIMIT] == 1
        assert not server.registry.waiting


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        ("v1", REQUEST),
        ("v2", REQUEST),
        ("v1", V2),
        ("v2", V1),
        ("v1", b"PROXY TCP4 a b c d\r\n"),
        ("v1", b"PROXY UNKNOWN ".ljust(107, b"x")),
        ("v2", SIGNATURE + struct.pack("!BBH", 0x21, 0x00, MAX_V2 - 15)),
    ],
)
@on_uvloop
async def test_a_trusted_one_that_sends_anything_else_is_closed(
    worker: Worker, version: str, sent: bytes
) -> None:
    async with (
        serve(worker, listener(version)) as (server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(sent)
        assert await is_closed(reader)
        assert worker.limits[LIMIT] == 1
        assert not server.registry.waiting


@pytest.mark.parametrize("version", HEADERS)
@on_uvloop
async def test_a_second_header_is_a_bad_request(worker: Worker, version: str) -> None:
    async with (
        serve(worker, listener(version)) as (_server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(HEADERS[version] * 2 + REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    assert worker.limits[LIMIT] == 0


@on_uvloop
async def test_whoever_sends_no_whole_header_in_time_is_closed(worker: Worker) -> None:
    assert Thresholds().arrival_seconds == 3.0
    worker.go_by(dataclasses.replace(Thresholds(), arrival_seconds=0.2))
    async with (
        serve(worker, listener("v2")) as (server, address),
        connected(address) as (silent, _writer),
        connected(address) as (slow, writer),
    ):
        # Bytes do not extend the time.
        async def trickle() -> None:
            for byte in V2[:-1]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert await is_closed(silent)
        assert await is_closed(slow)
        trickling.cancel()
        assert worker.limits[LIMIT] == 2
        assert not arriving(server)
        assert not server.registry.waiting


@on_uvloop
async def test_those_without_a_header_keep_out_nobody_but_their_like(worker: Worker) -> None:
    worker.go_by(dataclasses.replace(Thresholds(), max_arriving=2))
    limits = {"max_connections": 1, "max_connections_per_worker": 1, "max_handshakes": 1}
    async with (
        serve(worker, listener("v2", **limits)) as (server, address),
        connected(address) as (reader, writer),
    ):
        writer.write(V2)
        await until(lambda: bool(server.registry.waiting))
        async with connected(address) as (_first, _), connected(address) as (_second, _):
            await until(lambda: arriving(server) == 2)
            async with connected(address) as (third, _):
                assert await is_closed(third)
            assert worker.limits[LIMIT] == 1
            # The limits of the listener count those that have come, and no others.
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await until(lambda: not arriving(server))
        async with connected(address) as (beyond, other):
            other.write(V2 + REQUEST)
            assert (await beyond.readline()).startswith(b"HTTP/1.1 503 ")


@on_uvloop
async def test_whoever_leaves_before_its_header_has_come_is_forgotten(worker: Worker) -> None:
    async with serve(worker, listener("v2")) as (server, address):
        for sent in (b"", V2[:20]):
            async with connected(address) as (_reader, writer):
                writer.write(sent)
                await until(lambda: arriving(server) == 1)
            await until(lambda: not arriving(server))
    assert worker.limits[LIMIT] == 0


@on_uvloop
async def test_a_stop_waits_for_headers_no_longer_than_for_requests(worker: Worker) -> None:
    async with serve(worker, listener("v2")) as (server, address):
        async with (
            connected(address) as (silent, _),
            connected(address) as (reader, writer),
            connected(address) as (idle, header_only),
        ):
            await until(lambda: arriving(server) == 3)
            stopping = asyncio.create_task(server.drain.stop(0.0, 0.0, 60.0))
            await until(lambda: server.registry.ending is not None)
            header_only.write(V2)
            writer.write(V2 + REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
            assert await is_closed(silent)
            assert await is_closed(idle)
        await stopping
        assert not server.registry.early


@on_uvloop
async def test_without_the_option_a_header_is_a_bad_request(worker: Worker) -> None:
    async with serve(worker) as (_server, address):
        for header in HEADERS.values():
            async with connected(address) as (reader, writer):
                writer.write(header + REQUEST)
                assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")

"""The transports in memory, by what a protocol sees; sockets beside them show the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mpchat.testing.transport import connect_pair


class Noting(asyncio.Protocol):
    """Notes what happens."""

    def __init__(self, keeps_open: bool = False) -> None:
        self.seen: list[object] = []
        self.transport: asyncio.Transport
        self.received = b""
        self._keeps_open = keeps_open

    @property
    def is_lost(self) -> bool:
        return any(isinstance(event, type) for event in self.seen)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.seen.append("eof")
        return self._keeps_open

    def pause_writing(self) -> None:
        self.seen.append("pause")

    def resume_writing(self) -> None:
        self.seen.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(type(exc))


Pair = Callable[[Noting, Noting], Awaitable[None]]


async def in_memory(client: Noting, server: Noting) -> None:
    connect_pair(client, server, ("127.0.0.1", 40_000))


async def by_sockets(client: Noting, server: Noting) -> None:
    loop = asyncio.get_running_loop()
    for end, protocol in zip(socket.socketpair(), (client, server), strict=True):
        end.setblocking(False)
        await loop.create_connection(lambda protocol=protocol: protocol, sock=end)  # type: ignore[misc]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.fixture(params=[in_memory, by_sockets])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Connects two protocols in one of both ways."""
    ends: list[Noting] = []

    async def connect(client: Noting, server: Noting) -> None:
        await request.param(client, server)
        ends.extend((client, server))

    yield connect
    for end in ends:
        if not end.is_lost:
            end.transport.abort()
    await until(lambda: all(end.is_lost for end in ends))


async def test_bytes_arrive_later_and_in_order(pair: Pair) -> None:
    client, server = Noting(), Noting()
    await pair(client, server)
    client.transport.write(b"one")
    client.transport.writelines([b" two", b" three"])
    assert server.received == b""
    await until(lambda: server.received == b"one two three")
    server.transport.write(b"four")
    await until(lambda: client.received == b"four")


async def test_a_half_closed_connection_still_sends_to_one_side(pair: Pair) -> None:
    client, server = Noting(), Noting(keeps_open=True)
    await pair(client, server)
    client.transport.write(b"question")
    client.transport.write_eof()
    await until(lambda: server.seen == ["eof"])
    assert server.received == b"question"
    server.transport.write(b"answer")
    server.transport.close()
    await until(lambda: server.seen == ["eof", type(None)] == client.seen)
    assert client.received == b"answer"


async def test_an_end_waits_for_what_was_written(pair: Pair) -> None:
    client, server = Noting(), Noting()
    await pair(client, server)
    server.transport.pause_reading()
    client.transport.write(b"x" * 10_000_000)
    client.transport.close()
    assert client.transport.is_closing()
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.seen == ["pause"]
    server.transport.resume_reading()
    await until(lambda: server.seen == ["eof", type(None)])
    assert server.received == b"x" * 10_000_000
    assert client.seen[-1] is type(None)


async def test_a_writer_pauses_while_the_other_does_not_read(pair: Pair) -> None:
    client, server = Noting(), Noting()
    await pair(client, server)
    client.transport.set_write_buffer_limits(high=1000)
    server.transport.pause_reading()
    client.transport.write(b"x" * 10_000_000)
    assert client.seen == ["pause"]
    assert client.transport.get_write_buffer_size() > 1000
    server.transport.resume_reading()
    await until(lambda: client.seen == ["pause", "resume"])
    await until(lambda: len(server.received) == 10_000_000)
    assert client.transport.get_write_buffer_size() == 0


async def test_who_writes_to_a_closed_end_is_lost(pair: Pair) -> None:
    client, server = Noting(), Noting(keeps_open=True)
    await pair(client, server)
    client.transport.abort()
    await until(lambda: client.seen == [type(None)])
    await until(lambda: server.seen == ["eof"])
    server.transport.write(b"anybody?")
    await until(lambda: server.seen == ["eof", BrokenPipeError])


async def test_who_has_written_more_than_was_read_is_lost(pair: Pair) -> None:
    client, server = Noting(), Noting()
    await pair(client, server)
    server.transport.pause_reading()
    client.transport.write(b"x" * 10_000_000)
    server.transport.abort()
    await until(lambda: client.seen[1:] in ([ConnectionResetError], [BrokenPipeError]))


async def test_nothing_is_written_behind_an_end_of_file(pair: Pair) -> None:
    client, server = Noting(), Noting()
    await pair(client, server)
    client.transport.write_eof()
    with pytest.raises(RuntimeError):
        client.transport.write(b"more")
    await until(lambda: client.seen == ["eof", type(None)])


class Buffered(asyncio.BufferedProtocol):
    """Reads in small pieces, and stops after the second."""

    def __init__(self) -> None:
        self.buffer = bytearray(4)
        self.pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, _size_hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.pieces.append(bytes(self.buffer[:count]))
        if len(self.pieces) == 2:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.pause_reading()


async def test_a_buffered_protocol_reads_into_its_own_buffer() -> None:
    client, server = Noting(), Buffered()
    connect_pair(client, server, ("127.0.0.1", 40_000))
    client.transport.write(b"0123456789")
    await until(lambda: len(server.pieces) == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert server.pieces == [b"0123", b"4567"]
    server.transport.resume_reading()  # type: ignore[attr-defined]
    await until(lambda: server.pieces[2:] == [b"89"])


async def test_a_protocol_that_fails_loses_its_connection() -> None:
    class Failing(Noting):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a mistake")

    client, server = Noting(), Failing()
    reported: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, told: reported.append(str(told["exception"])))
    connect_pair(client, server, ("127.0.0.1", 40_000))
    client.transport.write(b"x")
    await until(lambda: client.seen == ["eof", type(None)])
    assert reported == ["a mistake"]
    assert server.seen == [type(None)]

"""A client's socket before it is a WebSocket, in the line of those who wait for a turn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar, cast

from websockets.http11 import Request, Response

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.handlers.ping import Ping
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ServerOptions
from mpchat.server.protocol import HttpProtocol
from mpchat.server.server import Server
from mpchat.server.stages import Stage
from mpchat.tls.contexts import Contexts
from mpchat.websocket.handler import WebsocketHandlerBase
from tests.kit.host import under_construction
from tests.unit.websocket.rig import Worker, on_uvloop, until

REQUEST = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Asks(WebsocketHandlerBase):
    """Has the author's code decide about a handshake."""

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        return None


def snapshot() -> Snapshot:
    return Snapshot(1, {}, BUILT_IN_KEYS)


H = TypeVar("H", bound=HandlerBase)


def made(cls: type[H], name: str, **options: Any) -> H:
    """Return a handler as a worker would build it."""
    return cls(cls.Options.model_validate(options), under_construction(name, snapshot))


@contextlib.asynccontextmanager
async def serve(
    worker: Worker,
    options: dict[str, Any] | None = None,
    board: Scoreboard | None = None,
    more: Sequence[HandlerBase] = (),
    tls: Contexts | None = None,
) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    """Let a server with a ping handler accept on a port of its own; yield it with its address."""
    board = board or Scoreboard.create()
    board.set_service("slots", 1)
    service = ServiceBoard(board, board.row(0, 0), board.addresses(0, 0), board.users(0, 0))
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(
        worker.loop,
        ServerOptions.model_validate({"listener": {"port": 0}, **(options or {})}),
        [
            made(Ping, "handler-ping", path="/ping"),
            made(Asks, "handler-asks", path="/chat"),
            *more,
        ],
        worker.shared,
        snapshot,
        service,
        asyncio.Event(),
        Balance(service, 0),
        tls=tls,
    )
    server.accept_from([listening])
    try:
        yield server, listening.getsockname()
    finally:
        await server.drain.hurry(1001)


class Busy:
    """Somebody in the line who takes the whole of a turn, and some time."""

    def __init__(self, worker: Worker) -> None:
        self.turn = worker.turn
        self.turn.line_up(self.turn.new_line, self)

    def serve(self) -> None:
        time.sleep(0.005)
        self.turn.charge(self.turn.thresholds.turn_work)


def stages(server: Server) -> list[Stage]:
    return [cast(HttpProtocol, waiting).stage for waiting in server.registry.waiting]


def keep_waiting(worker: Worker, seconds: float) -> None:
    """Let whoever lines up now wait for so long."""
    for _ in range(round(seconds / 0.005)):
        Busy(worker)
    worker.turn.charge(worker.turn.thresholds.turn_work)


@on_uvloop
async def test_who_waits_in_line_is_not_too_late(worker: Worker) -> None:
    async with serve(worker, {"handshake-timeout": "100ms"}) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        await until(lambda: bool(server.registry.waiting))
        # Its turn comes after three times as long as a request may take.
        keep_waiting(worker, 0.3)
        writer.write(REQUEST)
        status = await reader.readline()
        writer.close()
    assert status.startswith(b"HTTP/1.1 200 ")
    assert worker.limits["handshake-timeout"] == 0


@on_uvloop
async def test_the_line_gives_no_head_more_time(worker: Worker) -> None:
    async with serve(worker, {"handshake-timeout": "600ms"}) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST[:5])
        await until(lambda: stages(server) == [Stage.HEAD])
        keep_waiting(worker, 1.0)
        writer.write(REQUEST[5:10])
        await until(lambda: bool(worker.turn.new_line))
        await until(lambda: not worker.turn.new_line)
        # Too late, now that its turn has come.
        writer.write(REQUEST[10:])
        status = await reader.readline()
        writer.close()
    assert status.startswith(b"HTTP/1.1 408 ")
    assert worker.limits["handshake-timeout"] == 1


@on_uvloop
async def test_whoever_floods_after_the_last_answer_is_cut_off_in_the_line(worker: Worker) -> None:
    async with serve(worker) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        keep_waiting(worker, 8.0)
        writer.write(b"more")
        await until(lambda: not server.registry.waiting)
        # Not by coming to its turn: those before it in the line are still there.
        assert len(worker.turn.new_line) > 1
        worker.turn.new_line.clear()
        writer.close()


@on_uvloop
async def test_a_client_that_was_cut_off_in_the_line_is_not_admitted(worker: Worker) -> None:
    board = Scoreboard.create()
    async with serve(worker, board=board) as (server, address):
        _reader, writer = await asyncio.open_connection(*address)
        await until(lambda: stages(server) == [Stage.FRESH])
        [client] = cast(set[HttpProtocol], server.registry.waiting)
        keep_waiting(worker, 0.1)
        writer.write(HANDSHAKE)
        await until(lambda: not client.is_idle)
        client.abort()
        # Its turn comes before the end of its socket is reported.
        worker.turn.renew()
        client.serve()
        assert client.stage is Stage.FRESH
        await until(lambda: not server.registry.waiting)
        assert board.total("admitted", 1) == 0
        writer.close()

"""A worker's server with checkers and handlers of a test, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from mpchat.components.component import Component, Components
from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ServerOptions
from mpchat.server.server import Server
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase
from tests.kit.host import FakeHost
from tests.unit.websocket.rig import Worker

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class Plan:
    """A component with its options."""

    name: str
    cls: type[Component]
    options: Any


def plan(cls: type[Component], name: str | None = None, **options: Any) -> Plan:
    """Return a plan; the options have underscores for dashes."""
    aliases = {field: info.alias or field for field, info in cls.Options.model_fields.items()}
    given = {aliases[field]: value for field, value in options.items()}
    return Plan(name or cls.name, cls, cls.Options.model_validate(given))


def snapshot() -> Snapshot:
    return Snapshot(1, {}, BUILT_IN_KEYS)


def build(*plans: Plan) -> Components:
    """Return the components of these plans, constructed."""
    components = Components(plans, snapshot, FakeHost())
    components.build()
    return components


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self, now: float = 1_764_374_400.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Who(WebsocketHandlerBase):
    """Tells who somebody is; ``renew N`` has that expire later."""

    name = "who"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await chat.send(f"{context.user} {sorted(context.tags)} {context.expires}")
        async for message in chat:
            context.expires = float(message)
            await chat.send("renewed")


@dataclass
class Site:
    """The server and where it listens."""

    server: Server
    components: Components
    board: ServiceBoard
    port: int

    def connect(self, path: str = "who", **options: Any) -> connect:
        """Return a client's connection to a path."""
        return connect(f"ws://127.0.0.1:{self.port}/{path}", compression=None, **options)

    async def ask(self, *lines: str) -> bytes:
        """Return the answer to a plain request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = [*lines, "Host: localhost", "Connection: close", "", ""]
        writer.write("\r\n".join(head).encode())
        answer = await reader.read()
        writer.close()
        return answer


async def greeting(client: ClientConnection) -> str:
    """Return what ``Who`` says first."""
    return str(await asyncio.wait_for(client.recv(), 10))


@contextlib.asynccontextmanager
async def serve(
    worker: Worker,
    *plans: Plan,
    clock: Clock | None = None,
    listener: dict[str, Any] | None = None,
    scoreboard: Scoreboard | None = None,
) -> AsyncIterator[Site]:
    """Serve these components on a port of their own."""
    scoreboard = scoreboard or Scoreboard.create()
    scoreboard.set_service("slots", 1)
    board = ServiceBoard(
        scoreboard, scoreboard.row(0, 0), scoreboard.addresses(0, 0), scoreboard.users(0, 0)
    )
    components = Components(plans, snapshot, FakeHost())
    built = components.build()
    await components.start()
    listening = socket.create_server(("127.0.0.1", 0))
    shared = worker.shared if clock is None else replace(worker.shared, wall_clock=clock)
    server = Server(
        worker.loop,
        ServerOptions.model_validate({"listener": {"port": 0, **(listener or {})}}),
        [item for item in built if isinstance(item, HandlerBase)],
        shared,
        snapshot,
        board,
        asyncio.Event(),
        Balance(board, 0),
    )
    server.accept_from([listening])
    try:
        yield Site(server, components, board, listening.getsockname()[1])
    finally:
        await server.drain.hurry(1001)
        await components.stop()

"""Connections of one worker without its service: the real protocol, handler's task, turn and wheel.

Connections are on real sockets and uvloop, both ends in one loop, whose turns can be counted; or on a
transport that keeps what is written, to see what happens within one callback.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import uvloop

from mpchat.components.context import Context
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.scoreboard.counters import Counters
from mpchat.websocket.client import Client
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.keepalive import Keepalive
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.shared import Shared
from mpchat.websocket.state import State
from mpchat.websocket.task import run_handler, start
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel
from tests.kit.host import under_construction

P = ParamSpec("P")
T = TypeVar("T")
Handle = Callable[[WebSocketConnection], Awaitable[None]]


def on_uvloop(
    test: Callable[Concatenate[Worker, P], Coroutine[Any, Any, None]],
) -> Callable[P, None]:
    """Run a test on the loop that workers have, and end its connections after it."""

    async def run_and_end(*args: P.args, **kwargs: P.kwargs) -> None:
        worker = Worker()
        async with asyncio.timeout(60):
            try:
                await test(worker, *args, **kwargs)
            finally:
                await worker.end()

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_and_end(*args, **kwargs))

    # pytest looks for the fixtures that a test wants; the worker is none.
    signature = inspect.signature(test)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    return run


class _Handler(WebsocketHandlerBase):
    name = "handler"

    def __init__(self, handle: Handle, options: dict[str, Any]) -> None:
        components = under_construction("test", _snapshot)
        super().__init__(self.Options(path="/", **options), components)
        self._handle = handle

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await self._handle(chat)


def made_handler(handle: Handle, **options: Any) -> WebsocketHandlerBase:
    """Return a handler that does this for each connection."""
    return _Handler(handle, options)


_SNAPSHOT = Snapshot(1, {}, ())


def _snapshot() -> Snapshot:
    return _SNAPSHOT


class Worker:
    """What the connections of a worker share; ``connect`` opens one."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.counters = Counters()
        self.limits: Counter[str] = Counter()
        """How often each limit has ended a connection"""
        self._protocols: set[WebSocketProtocol] = set()
        self._clients: list[socket.socket] = []
        self.agreement: Agreement | None = None
        """What connections that are made from now on have agreed on"""
        self.go_by(Thresholds())

    def go_by(self, thresholds: Thresholds) -> None:
        """Have connections that are made from now on go by these."""
        self.wheel = Wheel(self.loop, thresholds)
        # Work alone ends a turn: how much is done in one does not hang on the machine.
        self.turn = Turn(self.loop, lambda: None, lambda: None, thresholds, lambda: 0.0)
        keepalive = Keepalive(_snapshot, thresholds)
        self.shared = Shared(
            self.loop,
            thresholds,
            self.counters,
            self.turn,
            self.wheel,
            keepalive,
            lambda name: self.limits.update((name,)),
        )
        # The first one that sends much makes it, for all; what one costs is measured without it.
        assert self.shared.scratch
        self.turn.on_full = self._stop_reading

    def serve(
        self,
        transport: asyncio.Transport,
        handle: Handle,
        **options: Any,
    ) -> WebSocketProtocol:
        """Begin a connection on this transport, as after the handshake."""
        protocol, handler = self._made(transport, handle, options)
        start(protocol, handler, b"")
        return protocol

    def continue_from(
        self, transport: asyncio.Transport, handle: Handle, state: State, **options: Any
    ) -> WebSocketProtocol:
        """Go on with a connection of this state on this transport."""
        protocol, handler = self._made(transport, handle, options)
        running = run_handler(protocol, handler, WebSocketConnection(protocol))
        protocol.continue_from(state, self.loop.create_task(running))
        return protocol

    def _made(
        self, transport: asyncio.Transport, handle: Handle, options: dict[str, Any]
    ) -> tuple[WebSocketProtocol, WebsocketHandlerBase]:
        handler = made_handler(handle, **options)
        client: socket.socket | None = transport.get_extra_info("socket")
        protocol = WebSocketProtocol(
            transport,
            -1 if client is None else client.fileno(),
            self.shared,
            handler,
            handler.options,
            b"GET / HTTP/1.1\r\n\r\n",
            Context("1", asyncio.Event(), _snapshot, None),
            None,
            self.agreement,
            Client(None, None),
            self._protocols.discard,
        )
        self._protocols.add(protocol)
        transport.set_protocol(cast(asyncio.Protocol, protocol))
        return protocol, handler

    async def connect(
        self, handle: Handle, **options: Any
    ) -> tuple[socket.socket, WebSocketProtocol]:
        """Return the client's end of a connection, which does not block, and ours."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            accepted, _address = listening.accept()
        self._clients.append(client)
        client.setblocking(False)
        accepted.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport, _protocol = await self.loop.connect_accepted_socket(asyncio.Protocol, accepted)
        return client, self.serve(transport, handle, **options)

    def _stop_reading(self) -> None:
        for protocol in self._protocols:
            protocol.stop_reading()

    async def end(self) -> None:
        """Cut off the connections that there still are, and close the clients' ends."""
        for protocol in self._protocols:
            protocol.cancel(1001)
            protocol.abort()
        await until(lambda: not self._protocols)
        for client in self._clients:
            client.close()


class Kept(asyncio.Transport):
    """A transport that keeps what is written, one item for each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def in_callback(function: Callable[[], T]) -> T:
    """Run it where bytes are received, in a callback of the loop in which no task is running."""
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            result.set_result(function())
        except Exception as error:  # noqa: BLE001 - it is the test's
            result.set_exception(error)

    asyncio.get_running_loop().call_soon(run)
    return await result


class Growth:
    """What a count grows by in one turn of the loop.

    Attributes:
        in_turn: By the numbers of those turns in which it did.
        peak: The largest count that was seen.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._last = count()
        self.in_turn: Counter[int] = Counter()
        self.peak = self._last

    @property
    def most(self) -> int:
        """In any turn."""
        return max(self.in_turn.values())

    def look(self, number: int) -> None:
        """Take what has been added until this turn."""
        last, self._last = self._last, self._count()
        self.peak = max(self.peak, self._last)
        if self._last != last:
            self.in_turn[number] += self._last - last


class Turns:
    """Counts the turns of the loop within a ``with`` block, and what is done in each."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._watched: list[Growth] = []

    def watch(self, count: Callable[[], int]) -> Growth:
        """Look at this count at the end of each turn from now on."""
        growth = Growth(count)
        self._watched.append(growth)
        return growth

    def __enter__(self) -> Self:
        self._next = self._loop.call_soon(self._count)
        return self

    def __exit__(self, *_error: object) -> None:
        self._next.cancel()
        self._look()

    def _count(self) -> None:
        self._look()
        self.number += 1
        self._next = self._loop.call_soon(self._count)

    def _look(self) -> None:
        for growth in self._watched:
            growth.look(self.number)


async def echo(chat: WebSocketConnection) -> None:
    """Answer every message with itself."""
    async for message in chat:
        await chat.send(message)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds; the test as a whole has a deadline."""
    while not condition():  # noqa: ASYNC110 - what is waited for knows no tests
        await asyncio.sleep(0.001)

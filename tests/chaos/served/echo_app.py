"""The service that is tortured: an echo that thinks over some messages, and keeps a ledger.

The ledger has a line for each connection that ended while its worker lived: its number, how many
messages had been read from its socket before the Close, and whether the handler knew by then that its
worker ends. Messages are counted by bytes, where they come out of the socket, so not by what is judged.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import setproctitle

from mpchat import (
    ComponentList,
    ConnectionClosed,
    Context,
    Request,
    Response,
    WebSocketConnection,
    WebsocketHandlerBase,
    minimal_server_component_list,
)
from mpchat.websocket.phases import CLOSING
from mpchat.websocket.protocol import WebSocketProtocol

LEDGER = "MPCHAT_CHAOS_LEDGER"
FRAME_BYTES = 22
"""Of a client's message; tests.chaos.clients says so, too."""


class Counted(asyncio.Protocol):
    """Counts what is read from a connection's socket before our Close."""

    def __init__(self, protocol: WebSocketProtocol) -> None:
        self._protocol = protocol
        self.read = 0

    def data_received(self, data: bytes) -> None:
        if self._protocol.phase < CLOSING:
            self.read += len(data)
        self._protocol.data_received(data)

    def eof_received(self) -> bool:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


def _sleep() -> None:
    time.sleep(60)


def _spin() -> None:
    # Never leaves C, nor lets another thread run.
    sum(itertools.repeat(1))


_STUCK: dict[str | bytes, Callable[[], None]] = {"sleep": _sleep, "spin": _spin}


class Echo(WebsocketHandlerBase):
    """Answers in order, some messages a little later, so that a drain finds unanswered ones."""

    name = "websocket-handler"

    async def start(self) -> None:
        slot = setproctitle.getproctitle().rpartition("/")[2]
        if Path(f"crash-{slot}").exists():
            os._exit(3)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._ledger = os.open(os.environ[LEDGER], flags)

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        context.response_headers.append(("Worker", str(os.getpid())))
        return None

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        number = int(chat.request.path.partition("?")[2])
        knew = False
        # The client sends nothing before it has our answer, which leaves after this.
        protocol = chat._protocol
        counted = Counted(protocol)
        protocol.transport.set_protocol(counted)
        try:
            while True:
                message = await chat.recv()
                if message in _STUCK:
                    # Whoever connects from here on is not accepted by this worker any more.
                    note = Path(f"stuck-{message!s}")
                    note.with_suffix(".new").write_text(str(time.monotonic()))
                    note.with_suffix(".new").rename(note)
                    _STUCK[message]()
                if str(message).endswith(("3", "7")):
                    await asyncio.sleep(0.01)
                await chat.send(message)
        except ConnectionClosed:
            knew = context.stopping.is_set()
            raise
        finally:
            read = counted.read // FRAME_BYTES
            os.write(self._ledger, f"{number} {read} {int(knew)}\n".encode())


def components() -> ComponentList:
    """Return the echo."""
    return minimal_server_component_list().append(Echo)

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
from mpchat.websocket.protocol import WebSocketProtocol

LEDGER = "MPCHAT_CHAOS_LEDGER"
FRAME_BYTES = 22
"""Of a client's message; tests.chaos.clients says so, too."""

_data_received = WebSocketProtocol.data_received
_serve = WebSocketProtocol.serve


def data_received(self: WebSocketProtocol, data: bytes | memoryview) -> None:
    """Count what is read from the socket before our Close."""
    if self.sent is None and not self.context.data.get("served"):
        self.context.data["read"] = self.context.data.get("read", 0) + len(data)
    _data_received(self, data)


def serve(self: WebSocketProtocol) -> None:
    """Count nothing anew: what is dealt with now was read, and counted, in an earlier turn."""
    self.context.data["served"] = True
    _serve(self)
    self.context.data["served"] = False


WebSocketProtocol.serve = serve  # type: ignore[method-assign]
WebSocketProtocol.data_received = data_received  # type: ignore[method-assign]


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
            read = context.data.get("read", 0) // FRAME_BYTES
            os.write(self._ledger, f"{number} {read} {int(knew)}\n".encode())


def components() -> ComponentList:
    """Return the echo."""
    return minimal_server_component_list().append(Echo)

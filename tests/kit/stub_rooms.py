"""A service with stand-ins for rooms: a component that needs a broker, a broker that says what it gets.

Rules. This is the module of a service under test. Both sides append what they see to the file ``events``,
one JSON object a line, and a file of the name that is in ``_WAYS`` makes the broker misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import types
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mpchat import Component, WebsocketHandlerBase, minimal_server_component_list
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.messages import BrokerDescriptors, BrokerPair, ForkBroker
from mpchat.ipc.reports import send_report
from mpchat.scoreboard.scoreboard import Scoreboard

_WAYS = ("fails", "leaves", "hangs", "ignores-stop", "loses")


def _say(**what: object) -> None:
    with Path("events").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), **what}) + "\n")


def _does(way: str) -> bool:
    assert way in _WAYS
    return Path(way).exists()


def run_broker(
    request: ForkBroker,
    channel: Channel,
    descriptors: BrokerDescriptors,
    logging: Any,
    options: Any,
    heartbeat: float,
) -> None:
    """Stand in for the broker's own code."""
    if _does("fails"):
        messages.send(channel, messages.Failure(70, "no history today"))
        return
    if _does("leaves"):
        raise RuntimeError("this broker leaves")
    history = descriptors.history
    size = os.fstat(history).st_size if history is not None else 0
    first = os.pread(history, 8, 0).decode() if history is not None else ""
    if history is not None:
        os.pwrite(history, f"{request.number:08}".encode(), 0)
    _say(what="broker", number=request.number, size=size, first=first)
    with contextlib.suppress(ChannelClosed):
        asyncio.run(_serve(request, channel, Scoreboard(descriptors.scoreboard), heartbeat))


async def _serve(
    request: ForkBroker, channel: Channel, board: Scoreboard, heartbeat: float
) -> None:
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    ends: list[socket.socket] = []

    def read() -> None:
        try:
            while (received := messages.receive(channel)) is not None:
                on_message(*received)
        except ChannelClosed as error:
            loop.remove_reader(channel.fileno())
            end.set_exception(error)

    def on_message(message: messages.Message, given: list[int]) -> None:
        match message:
            case messages.RoomsPair():
                # First: who sees that a worker has heard us looks for this event.
                _say(what="rooms pair", broker=request.number, **vars(message))
                ends.append(socket.socket(fileno=given[0]))
                ends[-1].send(json.dumps([request.number, message.pair]).encode())
                if _does("loses"):
                    Path("loses").unlink()
                    messages.send(channel, messages.PairLost(message.pair))
            case messages.WorkerGone():
                _say(what="worker gone", broker=request.number, incarnation=message.incarnation)
            case messages.ReportRooms():
                rooms = [{"room": "a", "members": 2, "messages_per_second": 0.5}]
                tasks.add(loop.create_task(send_report(given[0], rooms[: message.limit])))
            case messages.Stop():
                if _does("ignores-stop"):
                    return
                end.set_result(None)

    def beat(count: int) -> None:
        if _does("hangs"):
            time.sleep(3600)
        board.set_broker("heartbeat", count)
        board.set_broker("beat_at", int(time.monotonic() * 1000))
        board.set_broker("rooms", 1)
        loop.call_later(heartbeat, beat, count + 1)

    tasks: set[asyncio.Task[None]] = set()
    loop.add_reader(channel.fileno(), read)
    beat(1)
    messages.send(channel, messages.Ready())
    await end


class Rooms(Component):
    """Takes pairs, and says which."""

    name = "rooms"
    needs_broker: ClassVar[bool] = True

    class Options(Component.Options):
        """How much history, in a service that keeps its own."""

        engine: ClassVar[str] = "host"
        history_memory: Annotated[
            int, Field(alias="history-memory", description="Bytes of history")
        ] = 65536

    def __init__(self, options: Any, components: Any) -> None:
        super().__init__(options, components)
        self.end: socket.socket | None = None
        components.host.pairs.follow(self.take)

    def take(self, pair: BrokerPair, end: socket.socket) -> None:
        if self.end is not None:
            asyncio.get_running_loop().remove_reader(self.end.fileno())
            self.end.close()
        self.end = end
        _say(what="broker pair", socket=os.fstat(end.fileno()).st_ino, **vars(pair))
        asyncio.get_running_loop().add_reader(end.fileno(), self.read, pair, end)

    def read(self, pair: BrokerPair, end: socket.socket) -> None:
        data = end.recv(1000)
        if data:
            _say(what="heard", incarnation=pair.incarnation, said=json.loads(data))
        else:
            asyncio.get_running_loop().remove_reader(end.fileno())
            _say(what="end of file", pair=pair.pair, incarnation=pair.incarnation)


class Chat(WebsocketHandlerBase):
    """Has children that outlive a moment."""

    name = "websocket-handler"

    async def handle(self, chat: Any, context: Any) -> None:
        async for message in chat:
            if message == "fork":
                if (child := os.fork()) == 0:
                    signal.pause()
                await chat.send(json.dumps([os.getpid(), child]))


stub = types.ModuleType("mpchat.broker.process")
stub.run_broker = run_broker  # type: ignore[attr-defined]
sys.modules["mpchat.broker.process"] = stub


def components() -> Any:
    """Return the component list of the service."""
    return minimal_server_component_list().append(Rooms).append(Chat)

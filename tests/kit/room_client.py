"""A client of rooms that keeps what it was sent, and comes back with its position."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage

from mpchat.testsuite.clients import WebsocketClient
from tests.kit.waiting import eventually

V1 = ["mpchat.room.v1"]
SECONDS = 15.0


class RoomClient:
    """A client of ``mpchat.room.v1`` that comes back with its position, and keeps what it was sent."""

    def __init__(self, websocket_client: WebsocketClient, name: str) -> None:
        self._client = websocket_client
        self._name = name
        self._chat: ClientConnection | None = None
        self._acks: dict[str, asyncio.Future[int]] = {}
        self.position = ""
        self.got: list[Any] = []
        self.offsets: list[int] = []
        self.gaps = 0
        self.codes: list[int | None] = []
        self.is_in = asyncio.Event()

    async def run(self) -> None:
        while True:
            # Who is killed within a handshake has answered nothing.
            with contextlib.suppress(ConnectionClosed, InvalidMessage, OSError):
                await self._connect()
            self.is_in.clear()
            self._chat = None
            await asyncio.sleep(0.01)

    async def _connect(self) -> None:
        since = f"&since={self.position}" if self.position else ""
        path = f"rooms/a?client={self._name:-<16}{since}"
        async with self._client.get(path, subprotocols=V1) as chat:
            try:
                first = json.loads(await chat.recv())
                epoch = first["epoch"]
                self.gaps += not first["recovered"]
                self.position = f"{epoch}:{first['offset']}:{first['at']}"
                self._chat = chat
                self.is_in.set()
                async for text in chat:
                    self._take(json.loads(text), epoch)
            finally:
                self.codes.append(chat.close_code)

    def _take(self, frame: dict[str, Any], epoch: str) -> None:
        if "data" in frame:
            self.got.append(frame["data"])
            self.offsets.append(frame["offset"])
            self.position = f"{epoch}:{frame['offset']}:{frame['at']}"
        elif "ack" in frame and (answer := self._acks.get(frame["ack"])) and not answer.done():
            answer.set_result(frame["offset"])

    async def publish(self, data: Any) -> int:
        """Publish until it is acknowledged, with the same id."""
        name = f"id {data}"
        answer = self._acks[name] = asyncio.get_running_loop().create_future()
        while True:
            await self.is_in.wait()
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                # It may have ended again before we were woken.
                if self._chat is not None:
                    await self._chat.send(json.dumps({"publish": name, "data": data}))
                    async with asyncio.timeout(0.5):
                        return await asyncio.shield(answer)
            await asyncio.sleep(0.01)


async def all_have(members: list[RoomClient], expected: list[Any]) -> None:
    await eventually(
        lambda: all(len(one.got) >= len(expected) for one in members),
        f"{len(expected)} messages at each",
        SECONDS,
    )
    for one in members:
        assert one.got == expected
        assert one.offsets == members[0].offsets == sorted(set(one.offsets))
        assert one.gaps == 0

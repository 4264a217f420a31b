"""A client of `mpchat.room.v1`, made by hand from the table of its frames.

It notes what it sees and decides nothing: its owner says what is published, and whether to come back.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Protocol, cast

from tests.chaos.records import ABNORMAL
from tests.chaos.sightings import Ack, Answer, Visit

_HANDSHAKE = (
    "GET /rooms/{room}?client={client}&visit={visit}{since} HTTP/1.1\r\nHost: localhost:{port}\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: mpchat.room.v1\r\n\r\n"
)
_TIMEOUT = 15.0
"""Seconds after which a member gives a connection up: no first frame, or no end after Close."""
_SILENCE = 10.0
"""Seconds beyond the server's heartbeat after which a member takes a connection for dead."""
_MASK = bytes(4)
_CLOSE = b"\x88\x82" + _MASK + (1000).to_bytes(2, "big")


class Owner(Protocol):
    """Who a connection belongs to, and what it is told."""

    def joined(self) -> None:
        """The first frame has come; ``RoomClient.visit`` has what it said."""

    def saw(self, frame: dict[str, Any]) -> int:
        """Return which message a frame has.

        Raises:
            ValueError: It is none that anybody has published.
        """

    def acknowledged(self, message: int, ack: Ack) -> None:
        """A publish was answered."""

    def refused(self, message: int, reason: str) -> None:
        """A publish was refused."""

    def answered(self, answer: Answer) -> None:
        """A question about who is there was answered."""

    def lost(self) -> None:
        """The connection has ended, or there was none."""


class RoomClient(asyncio.Protocol):
    """One connection to a room; ``visit`` notes what becomes of it."""

    def __init__(self, owner: Owner, address: tuple[str, int], client: str, visit: Visit) -> None:
        self.visit = visit
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._host, self._port = address
        self._client = client
        self.position = visit.since
        """Where it stands, for whoever comes back"""
        self._data = b""
        self._heartbeat = 0.0
        self._heard = time.monotonic()
        self._asked: list[float] = []
        """When it asked who is there, and has no answer"""
        self._late = self._loop.call_later(_TIMEOUT, self._give_up, "late")
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: self, self._host, self._port)
        except ConnectionRefusedError:
            self.visit.trouble = "refused"
        except ConnectionError:
            self.visit.trouble = "reset"
        except OSError as error:
            self.visit.trouble = str(error)
        if self._transport is None:
            self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        visit = self.visit
        handshake = _HANDSHAKE.format(
            room=visit.room,
            client=self._client,
            visit=visit.number,
            since=visit.since and f"&since={visit.since}",
            port=self._port,
        )
        self._transport.write(handshake.encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._heard = time.monotonic()
        if not self.visit.opened and not self._read_head():
            return
        start = 0
        while (end := self._read_frame(start)) is not None:
            start = end
        self._data = self._data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        visit = self.visit
        if not visit.trouble and not visit.asked and not visit.code:
            visit.trouble = "reset" if isinstance(exc, ConnectionError) else "silent"
        if not visit.asked and not visit.code and visit.opened:
            visit.code = ABNORMAL
        self._end()

    def say(self, frame: dict[str, Any]) -> None:
        payload = json.dumps(frame).encode()
        size = len(payload)
        head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._write(b"\x81" + head + _MASK + payload)

    def ask(self) -> None:
        self._asked.append(time.monotonic())
        self.say({"members": True})

    def cut(self) -> None:
        """End as if the network did: without a word."""
        if self._transport is not None and not self.visit.code:
            self.visit.asked = True
            self._transport.abort()

    def leave(self) -> None:
        """Send Close, and wait for the end."""
        if not self.visit.code:
            self.visit.stayed = bool(self.visit.joined)
            self.visit.asked = True
            self._write(_CLOSE)
            self._expire()

    def check(self, now: float) -> None:
        """Give up a connection that has been quiet for longer than the server had said."""
        limit = self.visit.silence or self._heartbeat + _SILENCE
        if (self.visit.joined or self.visit.silence) and now - self._heard > limit:
            self._give_up("quiet")

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self) -> None:
        self._late.cancel()
        self.visit.ended = time.monotonic()
        self._owner.lost()

    def _expire(self) -> None:
        self._late.cancel()
        self._late = self._loop.call_later(_TIMEOUT, self._give_up, "late")

    def _give_up(self, trouble: str) -> None:
        self.visit.trouble = self.visit.trouble or trouble
        if self._transport is not None:
            self._transport.abort()
        elif self._task is not None:
            self._task.cancel()
            self._end()

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *headers = self._data[:end].decode().split("\r\n")
        self._data = self._data[end + 4 :]
        if not first.startswith("HTTP/1.1 101 "):
            self.visit.trouble = f"status {first.split(' ')[1]}"
            self.cut()
            return False
        self.visit.opened = time.monotonic()
        names = dict(line.lower().split(": ", 1) for line in headers)
        self.visit.worker = int(names.get("worker", 0))
        return True

    def _read_frame(self, start: int) -> int | None:
        """Take the frame that begins here; return where it ends, None if it is not all there."""
        data = self._data
        if len(data) < start + 2:
            return None
        size, begin = data[start + 1], start + 2
        if size > 125:
            begin += 2 if size == 126 else 8
            size = int.from_bytes(data[start + 2 : begin], "big")
        end = begin + size
        if len(data) < begin or len(data) < end:
            return None
        opcode, payload = data[start] & 0x0F, data[begin:end]
        if opcode == 0x1:
            try:
                self._take(json.loads(payload))
            except (ValueError, KeyError, IndexError):
                self._give_up("garbled")
        elif opcode == 0x8:
            self._closed(int.from_bytes(payload[:2], "big"))
        elif opcode == 0x9:
            self._write(b"\x8a" + bytes([0x80 | size]) + _MASK + payload)
        return end

    def _take(self, frame: dict[str, Any]) -> None:
        """One row of the protocol's table; what it does not name is ignored."""
        visit = self.visit
        if "data" in frame or "base64" in frame:
            self._saw(frame)
        elif "ack" in frame:
            visit.answered += 1
            ack = Ack(visit.number, frame["offset"], time.monotonic())
            self._owner.acknowledged(int(frame["ack"]), ack)
        elif "nack" in frame:
            self._owner.refused(int(frame["nack"]), frame["reason"])
        elif "members" in frame:
            listed = [int(each["visit"]) for each in frame["members"]]
            answer = Answer(visit.room, self._asked.pop(0), time.monotonic(), listed)
            self._owner.answered(answer)
        elif "epoch" in frame:
            self._late.cancel()
            visit.joined = time.monotonic()
            visit.epoch, visit.offset = frame["epoch"], frame["offset"]
            visit.recovered = frame["recovered"]
            self._heartbeat = frame["heartbeat"]
            self.position = f"{visit.epoch}:{visit.offset}:{frame['at']}"
            self._owner.joined()

    def _saw(self, frame: dict[str, Any]) -> None:
        if not self.visit.joined:
            raise ValueError("a message came before the first frame")
        message = self._owner.saw(frame)
        self.visit.offsets.append(frame["offset"])
        self.visit.messages.append(message)
        self.position = f"{self.visit.epoch}:{frame['offset']}:{frame['at']}"

    def _closed(self, code: int) -> None:
        self.visit.code = code
        self.visit.closed = time.monotonic()
        if not self.visit.asked:
            # The answer repeats the code; the server is the one to end the connection.
            self._write(b"\x88\x82" + _MASK + code.to_bytes(2, "big"))
        self._expire()
